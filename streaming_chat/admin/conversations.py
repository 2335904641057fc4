"""The list of conversations, and the view of each one's transcript.

`view_conversation` shows owners, times and numbers; `view_transcript` also shows every text, including titles. What a user
may not read is not loaded. Other permissions allow reviewing (reviews.py), exporting (exports.py), redacting (redactions.py)
and stopping a reply (live.py), each with POST to addresses of their own. Nobody adds, changes or deletes rows here.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from streaming_chat.db.alias import live_database
from streaming_chat.models import AccessRecord, Conversation, Status
from streaming_chat.privacy.audit import record
from streaming_chat.review.queues import Queue
from streaming_chat.search.query import MAX_LISTED_HITS

from . import dashboard, list_search, owner_actions, review_actions, review_bar, reviews, search_page
from .call_queue import may_answer
from .exports import ExportMixin, may_export
from .filters import CONVERSATION_FILTERS, CONVERSATION_FORMS, parameters_of
from .formats import money, short_time, title_of
from .kept_searches import words_of
from .lists import may_read, may_see, record_list
from .live import follow_view, live_words, stop_view
from .pages import as_uuid, owner_link, post_only, render_page, retry_on_lock_timeout, uuid_or_404
from .redactions import RedactionMixin, may_redact
from .review_filters import REVIEW_FILTERS
from .review_notes import notes_view
from .review_numbers import review_numbers_view
from .share_links import may_revoke
from .transcripts import Transcript

# The lookups of the filters' links. Django would allow any column of the model, so that `?title__startswith=` would reveal
# titles letter by letter.
_LOOKUPS = frozenset(
    {
        *("last_status__exact", "last_activity__gte", "last_activity__lt", "owner_key"),
        *parameters_of(*CONVERSATION_FILTERS, *CONVERSATION_FORMS, *REVIEW_FILTERS),
    }
)


# The addresses that take POST; see pages.post_only.
_POST_ONLY = frozenset(
    f"streaming_chat_conversation_{name}" for name in ("export", "export_list", "find", "redact", "redact_passages")
)
_GET_AND_POST = frozenset(f"streaming_chat_conversation_{name}" for name in ("changelist", "search"))


@admin.register(Conversation)
class ConversationAdmin(ExportMixin, RedactionMixin):
    """Conversations, newest first."""

    list_display = (
        # First what one looks for: further columns may be out of view, beside the filters and the navigation.
        "named",
        "status",
        "reviewed",
        "active",
        "owned_by",
        "judged",
        "model",
        "message_count",
        "tokens",
        "spent",
    )
    list_filter = (*CONVERSATION_FORMS, "last_status", *CONVERSATION_FILTERS, *REVIEW_FILTERS, "last_activity")
    list_select_related = ("owner", "review__reviewer", "review__done_by")
    list_per_page = 50
    allowed_lookups = _LOOKUPS
    sortable_by = ("active",)
    search_help_text = _(
        "Owner or owner key, reference, id of a conversation, a message or a provider's request, or words in texts of the "
        "last 90 days."
    )
    actions = (*review_actions.ACTIONS, "export_jsonl", "export_csv")

    @property
    def media(self) -> forms.Media:
        """The list's files, without jQuery, which does not run under a policy that requires Trusted Types."""
        scripts = ["admin/js/core.js", "admin/js/actions.js"]
        styles = [f"streaming_chat/admin/{name}.css" for name in ("list", "exports")]
        return forms.Media(css={"all": styles}, js=scripts)

    def get_urls(self) -> list[Any]:
        """Return Django's addresses, restricted to GET and HEAD except for the list's actions, and the app's own."""
        view = self.admin_site.admin_view
        numbers = view(partial(dashboard.dashboard_view, self))
        notes = view(partial(notes_view, self))
        review_numbers = view(partial(review_numbers_view, self))
        search = view(sensitive_post_parameters()(partial(search_page.search_view, self)))
        urls = [
            path("numbers/", numbers, name="streaming_chat_conversation_numbers"),
            path("review/numbers/", review_numbers, name="streaming_chat_conversation_review_numbers"),
            path("search/", search, name="streaming_chat_conversation_search"),
            path("<uuid:pk>/review/notes/", notes, name="streaming_chat_conversation_review_notes"),
            *super().get_urls(),
        ]
        for url in urls:
            if url.name in _GET_AND_POST:
                url.callback = require_http_methods(["GET", "HEAD", "POST"])(url.callback)
            elif url.name not in _POST_ONLY:
                url.callback = require_safe(url.callback)
        reply = "<uuid:object_id>/messages/<uuid:message_id>"
        return [
            path(f"{reply}/events", follow_view(self.admin_site), name="streaming_chat_conversation_follow"),
            path(f"{reply}/stop/", post_only(self, partial(stop_view, self)), name="streaming_chat_conversation_stop"),
            *reviews.urls(self),
            *owner_actions.urls(self),
            *urls,
        ]

    @retry_on_lock_timeout
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list, with a form that starts reviewing."""
        for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
            uuid_or_404(chosen)
        context = {"queues": Queue.choices if review_bar.may_review(request) else [], **(extra_context or {})}
        response = super().changelist_view(request, context)
        if getattr(request, "has_more_texts", False) and isinstance(response, TemplateResponse):
            response.context_data = {**(response.context_data or {}), "most_texts": MAX_LISTED_HITS}
        record_list(request, response)
        return response

    def has_view_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        """Require `view_conversation` itself; Django would also accept `change_conversation`."""
        return may_see(request)

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Reviewing requires reading."""
        return review_bar.may_review(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Include deleted conversations. Do not load columns that the list does not show."""
        hidden = ["system_prompt", "metadata", "review__notes"]
        rows = super().get_queryset(request).defer(*hidden, *([] if may_read(request) else ["title"]))
        return review_bar.with_verdicts(request, rows)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show titles only to users who may read them, and verdicts only to reviewers."""
        hidden = "" if review_bar.may_review(request) else "judged"
        names = [name for name in self.list_display if name != hidden]
        return ["titled" if name == "named" and may_read(request) else name for name in names]

    def search(self, request: HttpRequest, queryset: QuerySet[Conversation], words: str) -> QuerySet[Conversation]:
        """Search by owner, id and reference, and in texts for users who may read them."""
        return list_search.search(queryset, words, request=request if may_read(request) else None)

    @admin.display(description=_("conversation"))
    def named(self, conversation: Conversation) -> SafeString:
        """The conversation's id."""
        return _mark_deleted(str(conversation), conversation)

    @admin.display(description=_("conversation"))
    def titled(self, conversation: Conversation) -> SafeString:
        """The conversation's title."""
        return _mark_deleted(title_of(conversation), conversation)

    @admin.display(description=_("last activity"), ordering="last_activity")
    def active(self, conversation: Conversation) -> str:
        """When something was last added."""
        return short_time(conversation.last_activity)

    @admin.display(description=_("owner"))
    def owned_by(self, conversation: Conversation) -> str | SafeString:
        """The owner's name, as a link to the owner's page."""
        return owner_link(conversation, self.admin_site.name)

    @admin.display(description=_("last status"))
    def status(self, conversation: Conversation) -> str | SafeString:
        """The status of the last reply, highlighted while it is being written."""
        words = conversation.get_last_status_display()
        if conversation.last_status != Status.STREAMING:
            return words
        return format_html('<strong class="list-live">{}</strong>', words)

    @admin.display(description=_("cost"))
    def spent(self, conversation: Conversation) -> str:
        """The known cost of its replies."""
        return money(conversation.cost)

    @admin.display(description=_("review"))
    def reviewed(self, conversation: Conversation) -> str:
        """The state of the review, and the reviewer."""
        return review_bar.describe_state(conversation)

    @admin.display(description=_("verdicts"))
    def judged(self, conversation: Conversation) -> SafeString:
        """What reviewers said of it."""
        return format_html("<bdi>{}</bdi>", review_bar.describe_verdicts(conversation))

    @admin.display(description=_("tokens in / out"))
    def tokens(self, conversation: Conversation) -> str:
        """The tokens that it used."""
        return f"{localize(conversation.input_tokens)} / {localize(conversation.output_tokens)}"

    @retry_on_lock_timeout
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the transcript, without its text to users who may not read it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        pk = as_uuid(object_id)
        through = uuid_or_404(request.GET["message"]) if "message" in request.GET else None
        transcript = _open_transcript(request, pk, through) if pk else None
        if transcript is None and not (pk and Conversation.objects.using(live_database()).filter(pk=pk).exists()):
            # As Django answers, for example for the link of an access record whose conversation was deleted.
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]  # django-stubs does not know it
                request, self.opts, object_id
            )
        if transcript is None or not self.has_view_permission(request, transcript.conversation):
            raise Http404
        if transcript.may_read:
            conversation = transcript.conversation
            record(
                AccessRecord.Kind.OPEN,
                request.user,
                conversation=conversation.pk,
                message=through,
                owner_key=conversation.owner_key,
            )
        context = {**self._transcript_context(request, transcript), **(extra_context or {})}
        return render_page(self, request, "transcript", context)

    def _transcript_context(self, request: HttpRequest, transcript: Transcript) -> dict[str, Any]:
        styles = [f"streaming_chat/admin/{name}.css" for name in ("transcript", "exports")]
        return {
            "original": transcript.conversation,
            "has_view_permission": True,
            "title": transcript.title,
            "media": forms.Media(css={"all": styles}),
            "transcript": transcript,
            "review": review_bar.review_bar(request, transcript.conversation),
            "back": review_bar.persistent_query(request.GET).urlencode(),
            "list_filters": request.GET.get("_changelist_filters", ""),
            "may_export": may_export(request),
            "may_redact": may_redact(request),
            "may_revoke": may_revoke(request),
            "may_answer": may_answer(request),
            "may_stop": request.user.has_perm("streaming_chat.stop_reply"),
            "live_words": live_words() if transcript.live and transcript.may_read else "",
            "kept": review_bar.kept_query(request.GET),
        }


def _open_transcript(request: HttpRequest, pk: uuid.UUID, through: uuid.UUID | None) -> Transcript | None:
    return Transcript.open(
        pk,
        through=through,
        query=_list_query(request),
        page=request.GET.get("page"),
        first=request.GET.get("format", ""),
        may_read=may_read(request),
        prepare=partial(review_bar.with_review, request),
    )


def _mark_deleted(name: str, conversation: Conversation) -> SafeString:
    if conversation.deleted_at:
        return format_html("<bdi>{}</bdi> ({})", name, _("deleted"))
    return format_html("<bdi>{}</bdi>", name)


def _list_query(request: HttpRequest) -> str:
    """Return the search query of the list that the link was in."""
    filters = QueryDict(request.GET.get("_changelist_filters", ""))
    return words_of(request, filters.get(SEARCH_VAR, "")) or ""
