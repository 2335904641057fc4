"""The list of conversations, and the address of each one's transcript.

`view_conversation` shows who, when and how much; `view_transcript` besides shows every text, titles included; nobody adds,
changes or deletes anything here. What may not be read is not loaded. Further permissions judge (reviews.py), take texts out
(exports.py) and away (redactions.py), and stop a reply (live.py), by POST to addresses of their own.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from streaming_chat.models import AccessRecord, Conversation, Status
from streaming_chat.privacy.accesses import record
from streaming_chat.review.queues import Queue
from streaming_chat.search.query import MAX_LISTED_HITS, SearchUnavailable

from . import dashboard, results, review_bar, reviews, searches
from .decorators import post_only, retry_on_lock_timeout
from .exports import Exporting, may_export
from .filters import ErrorFilter, FeedbackFilter, LiveFilter, ModelFilter, OwnerFilter, ReviewFilter
from .formats import money
from .lists import may_read, may_see, record_list
from .live import follow_view, stop_reply
from .pagination import BoundedPaginator
from .redactions import Redacting, may_redact
from .transcripts import Transcript, owner_name

_FILTERS = (ReviewFilter, LiveFilter, FeedbackFilter, ErrorFilter, OwnerFilter, ModelFilter)
# Everything that a filter's link may ask. Django allows any column of the model, so that `?title__startswith=` would
# spell out titles letter by letter.
_LOOKUPS = frozenset(
    {
        *("last_status__exact", "last_activity__gte", "last_activity__lt", "owner_key"),
        *(each.parameter_name for each in _FILTERS),
    }
)


# The addresses that take POST; a GET is redirected.
_POSTED = frozenset(f"streaming_chat_conversation_{name}" for name in ("export", "export_list", "redact"))


@admin.register(Conversation)
class ConversationAdmin(Exporting, Redacting):
    """Conversations, newest first."""

    list_display = (
        "named",
        "last_activity",
        "owned_by",
        "status",
        "reviewed",
        "model",
        "message_count",
        "tokens",
        "spent",
    )
    list_display_links = ("named",)
    list_filter = ("last_status", *_FILTERS, "last_activity")
    list_select_related = ("owner", "review__reviewer", "review__done_by")
    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("last_activity",)
    # Not read: it shows the search box, get_search_results finds.
    search_fields = ("id",)
    search_help_text = _(
        "Owner, reference, the id of a conversation, a message or a provider's request, or words of the last 90 days' texts."
    )
    actions = (reviews.mark_done, reviews.assign_to_me, "export_jsonl", "export_csv")
    # With both off, the list's template writes a style element, which a strict policy blocks.
    actions_on_top = True

    @property
    def media(self) -> forms.Media:
        """What the list needs; without jQuery, which does not run where a policy requires trusted types."""
        scripts = ["admin/js/core.js", "admin/js/actions.js"]
        styles = [f"streaming_chat/admin/{name}.css" for name in ("list", "exports")]
        return forms.Media(css={"all": styles}, js=scripts)

    def get_urls(self) -> list[Any]:
        """Return the usual addresses, which take GET and HEAD only but for the list's actions, and those of our own."""
        view = self.admin_site.admin_view
        numbers = path("numbers/", view(self.numbers_view), name="streaming_chat_conversation_numbers")
        search = path("search/", view(self.search_view), name="streaming_chat_conversation_search")
        urls = [numbers, search, *super().get_urls()]
        for url in urls:
            if url.name == "streaming_chat_conversation_changelist":
                url.callback = require_http_methods(["GET", "HEAD", "POST"])(url.callback)
            elif url.name not in _POSTED:
                url.callback = require_safe(url.callback)
        reply = "<uuid:object_id>/messages/<uuid:message_id>"
        return [
            path(f"{reply}/events", follow_view(self.admin_site), name="streaming_chat_conversation_follow"),
            path(f"{reply}/stop/", post_only(self, self.stop_view), name="streaming_chat_conversation_stop"),
            *reviews.urls(self),
            *urls,
        ]

    @retry_on_lock_timeout
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Answer with the list, and where to begin with reviewing."""
        for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
            _uuid(chosen)
        context = {"queues": Queue.choices if review_bar.may_review(request) else [], **(extra_context or {})}
        response = super().changelist_view(request, context)
        if getattr(request, "has_more_texts", False) and isinstance(response, TemplateResponse):
            response.context_data = {**(response.context_data or {}), "most_texts": MAX_LISTED_HITS}
        record_list(request, response)
        return response

    def has_view_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Whoever has that permission, and nobody for another's sake."""
        return may_see(request)

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Reviewing requires reading."""
        return review_bar.may_review(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds conversations here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Nobody changes conversations here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Nobody deletes conversations here; elsewhere, with their owner, whoever has that permission."""
        match = request.resolver_match
        if obj is None or match is None or (match.url_name or "").startswith("streaming_chat_"):
            return False
        return super().has_delete_permission(request, obj)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow what the filters' links ask, and nothing that would tell a text."""
        return lookup in _LOOKUPS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Return conversations, deleted ones too, without the columns that the list does not show."""
        hidden = ["system_prompt", "metadata", "review__notes"]
        return super().get_queryset(request).defer(*hidden, *([] if may_read(request) else ["title"]))

    def get_list_display(self, request: HttpRequest) -> Any:
        """Name conversations by their title only for who may read it."""
        return ["titled" if name == "named" and may_read(request) else name for name in self.list_display]

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        """Link the first column."""
        return list(list_display)[:1]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        """Find by owner, ids and references; by words of texts and titles only for who may read them."""
        try:
            return searches.find(queryset, search_term, reading=request if may_read(request) else None), False
        except SearchUnavailable:
            messages.warning(request, _("Texts cannot be searched here: this SQLite was built without FTS5."))
            return searches.by_names(queryset, search_term), False

    @retry_on_lock_timeout
    def search_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with what is found in all texts."""
        return results.page(request, self)

    @admin.display(description=_("conversation"))
    def named(self, conversation: Conversation) -> SafeString:
        """Return its name without text."""
        return _marked(str(conversation), conversation)

    @admin.display(description=_("conversation"))
    def titled(self, conversation: Conversation) -> SafeString:
        """Return its title."""
        return _marked(conversation.title or str(conversation), conversation)

    @admin.display(description=_("owner"))
    def owned_by(self, conversation: Conversation) -> str:
        """Return whose it is."""
        return owner_name(conversation)

    @admin.display(description=_("last status"))
    def status(self, conversation: Conversation) -> str | SafeString:
        """Return how its last reply ended; marked while that is being written."""
        words = conversation.get_last_status_display()
        if conversation.last_status != Status.STREAMING:
            return words
        return format_html('<strong class="list-live">{}</strong>', words)

    @admin.display(description=_("cost"))
    def spent(self, conversation: Conversation) -> str:
        """Return what its replies cost, as far as that is known."""
        return money(conversation.cost)

    @admin.display(description=_("review"))
    def reviewed(self, conversation: Conversation) -> str:
        """Return how far its review is, and with whom."""
        return review_bar.describe_state(conversation)

    @admin.display(description=_("tokens in / out"))
    def tokens(self, conversation: Conversation) -> str:
        """Return what it used."""
        return f"{localize(conversation.input_tokens)} / {localize(conversation.output_tokens)}"

    @retry_on_lock_timeout
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Answer with the transcript; without its text for who may not read it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        through = _uuid(request.GET["message"]) if "message" in request.GET else None
        transcript = Transcript.open(
            _uuid(object_id),
            through=through,
            sought=_sought(request),
            page=request.GET.get("page"),
            may_read=may_read(request),
            prepare=partial(review_bar.with_review, request),
        )
        if transcript is None or not self.has_view_permission(request, transcript.conversation):
            raise Http404
        if transcript.may_read:
            record(AccessRecord.Kind.OPEN, request.user, conversation=transcript.conversation.pk, message=through)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": transcript.conversation,
            "has_view_permission": True,
            "title": transcript.title,
            "media": forms.Media(
                css={"all": ["streaming_chat/admin/transcript.css", "streaming_chat/admin/exports.css"]}
            ),
            "transcript": transcript,
            "review": review_bar.review_bar(request, transcript.conversation),
            "may_export": may_export(request),
            "may_redact": may_redact(request),
            "may_stop": request.user.has_perm("streaming_chat.stop_reply"),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/streaming_chat/conversation/transcript.html", context)

    def numbers_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with the page of numbers."""
        return dashboard.view(request, self)

    @retry_on_lock_timeout
    def stop_view(self, request: HttpRequest, object_id: uuid.UUID, message_id: uuid.UUID) -> HttpResponse:
        """Stop a reply that is being written."""
        return stop_reply(request, object_id, message_id)


def _marked(name: str, conversation: Conversation) -> SafeString:
    if conversation.deleted_at:
        return format_html("<bdi>{}</bdi> ({})", name, _("deleted"))
    return format_html("<bdi>{}</bdi>", name)


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Http404 from None


def _sought(request: HttpRequest) -> str:
    """Return what was searched for in the list that led here."""
    return QueryDict(request.GET.get("_changelist_filters", "")).get("q", "").strip()
