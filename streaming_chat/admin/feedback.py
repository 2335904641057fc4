"""The feedback inbox: what owners thought of replies, newest first, with their comments. Each leads to its message.

Comments are text: only users who may read texts see them, search them, and filter by whether there is one.
"""

from __future__ import annotations

import uuid
from functools import reduce
from operator import attrgetter, or_
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from streaming_chat.models import AccessRecord, Feedback, Message
from streaming_chat.privacy.audit import record

from .filters import FeedbackFilter, ModelFilter, OwnerFilter, parameters_of
from .form_filters import DateRangeFilter
from .list_search import find_users
from .lists import ListAdmin, may_read, may_see, record_list
from .pages import as_uuid, owner_keys, owner_link, retry_on_lock_timeout, transcript_url

_COLUMNS = (
    "value", "updated_at", "owner_key", "message__model", "message__conversation__owner_key",
    "message__conversation__erased_at",
)  # fmt: skip
# Of a comment, which has 4,000 at most. All of it is in the transcript.
_SHOWN_CHARS = 500
# Words of a search; more would make its statement long, not its result better.
_MAX_WORDS = 10


class RatingFilter(FeedbackFilter):
    """Good or bad."""

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        return queryset.filter(value=self._VALUES[value]) if value in self._VALUES else queryset


class RatedModelFilter(ModelFilter):
    """The model of the reply."""

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        replies = Message.objects.exclude(model="")
        if value.endswith(":*"):
            return queryset.filter(Exists(replies.filter(pk=OuterRef("message"), model__startswith=value[:-1])))
        # Looked up for one rating after the other, since a model can have a million replies. As a range, so that SQLite uses
        # the index of models: that of ids leads to rows with long texts.
        of_rating = replies.filter(pk__gte=OuterRef("message"), pk__lte=OuterRef("message"))
        return queryset.filter(Exists(of_rating.filter(model=value)))


class RaterFilter(OwnerFilter):
    """The kind of owner who gave it, by the key that it was saved with; an erasure replaces the key."""

    _PREFIXES = {"user": "u:", "visitor": "v:", "erased": "erased:"}

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        prefix = self._PREFIXES.get(value)
        return queryset.filter(owner_key__startswith=prefix) if prefix else queryset


class CommentFilter(admin.SimpleListFilter):
    """Whether there is a comment, for users who may read texts. Nobody else sees it, nor finds anything by it."""

    title = _("comment")
    # Not the column's name, which is no lookup of the list.
    parameter_name = "commented"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices; none for users who may not read."""
        return [("1", _("with a comment")), ("0", _("without a comment"))] if may_read(request) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the choice, if there is one. The condition is that of a partial index."""
        match self.value():
            case "1":
                return queryset.exclude(comment="")
            case "0":
                return queryset.filter(comment="")
        return queryset


_FILTERS = (RatingFilter, CommentFilter, RatedModelFilter, RaterFilter)


@admin.register(Feedback)
class FeedbackAdmin(ListAdmin):
    """All ratings, the last changed first."""

    list_display = ("when", "rating", "owned_by", "answered_by")
    list_filter = (DateRangeFilter, *_FILTERS, "updated_at")
    list_per_page = 50
    ordering = ("-updated_at", "-id")
    # Other lookups would reveal a comment letter by letter.
    allowed_lookups = frozenset({*parameters_of(DateRangeFilter, *_FILTERS), "updated_at__gte", "updated_at__lt"})
    search_help_text = _("Owner or owner key, the id of a message or a conversation, or words in comments.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: Feedback | None = None) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_delete_permission(self, request: HttpRequest, obj: Feedback | None = None) -> bool:
        """A rating goes with its message, without a permission of its own. No page here deletes one."""
        return True

    @retry_on_lock_timeout
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list. It has an access record, since comments are text."""
        response = super().changelist_view(request, extra_context)
        record_list(request, response, attrgetter("message.conversation.owner_key"))
        return response

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        """Load comments for users who may read texts, and no other text for anybody."""
        named = f"message__conversation__owner__{get_user_model().USERNAME_FIELD}"
        columns = (*_COLUMNS, named, *(("comment",) if may_read(request) else ()))
        return super().get_queryset(request).select_related("message__conversation__owner").only(*columns)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show comments only to users who may read texts."""
        when, rating, *others = self.list_display
        return [when, rating, *(["commented"] if may_read(request) else []), *others]

    def search(self, request: HttpRequest, queryset: QuerySet[Feedback], words: str) -> QuerySet[Feedback]:
        """Search by ids and owners and, for users who may read, by words of comments."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(message__in=_messages(pk))
        if keys := owner_keys(words):
            return queryset.filter(owner_key__in=keys)
        found = Q(by__in=find_users(words))
        if may_read(request):
            # The record of the list leaves these words out: see lists.py.
            request.search_record = record(AccessRecord.Kind.SEARCH, request.user, terms=words)  # type: ignore[attr-defined]
            found |= _with_words(words)
        return queryset.filter(found)

    @admin.display(description=_("when"))
    def when(self, feedback: Feedback) -> SafeString:
        """When it was given or changed, with a link to the message in its transcript."""
        url = transcript_url(feedback.message.conversation_id, feedback.message_id)
        return format_html('<a href="{}">{}</a>', url, localize(feedback.updated_at))

    @admin.display(description=_("feedback"))
    def rating(self, feedback: Feedback) -> SafeString:
        """Good or bad."""
        words = _("good") if feedback.value > 0 else _("bad")
        return format_html('<span class="list-rating" data-value="{}">{}</span>', feedback.value, words)

    @admin.display(description=_("comment"))
    def commented(self, feedback: Feedback) -> SafeString:
        """The beginning of the comment."""
        text = Truncator(feedback.comment).chars(_SHOWN_CHARS)
        return format_html('<p class="list-comment" dir="auto">{}</p>', text)

    @admin.display(description=_("owner"))
    def owned_by(self, feedback: Feedback) -> str | SafeString:
        """The owner's name, as a link to the owner's page."""
        return owner_link(feedback.message.conversation, self.admin_site.name)

    @admin.display(description=_("model"))
    def answered_by(self, feedback: Feedback) -> str:
        """The model of the reply."""
        return feedback.message.model


def _messages(pk: uuid.UUID) -> set[uuid.UUID]:
    """Return the rated messages of the conversation with this id, or the id itself, which may be a message's."""
    rated = Feedback.objects.filter(message__conversation=pk).order_by()
    return {pk, *rated.values_list("message", flat=True)}


def _with_words(words: str) -> Q:
    """Return the condition of the comments with all of these words, in capital or small letters."""
    found = ~Q(comment="")
    for word in words.split()[:_MAX_WORDS]:
        # SQLite's LIKE takes capital and small letters for the same in ASCII only.
        forms = {word} if word.isascii() else {word, word.lower(), word.upper(), word.capitalize()}
        found &= reduce(or_, (Q(comment__icontains=form) for form in sorted(forms)))
    return found
