"""The list of conversations, and the address of each one's transcript.

Three permissions: `view_conversation` shows who, when and how much; `view_transcript` besides shows every text, titles
included; nobody adds, changes or deletes anything here. What may not be read is not loaded.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from streaming_chat.models import Conversation
from streaming_chat.staff.finding import SearchUnavailable

from . import results, searches
from .filters import ModelFilter, OwnerFilter
from .pages import BoundedPaginator
from .transcripts import Transcript, owner_name

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Conversation]
else:
    ModelAdmin = admin.ModelAdmin

# Everything that a filter's link may ask. Django allows any column of the model, so that `?title__startswith=` would
# spell out titles letter by letter.
_LOOKUPS = frozenset(
    {"last_status__exact", "model", "last_activity__gte", "last_activity__lt", "owner_key", OwnerFilter.parameter_name}
)


def may_read(request: HttpRequest) -> bool:
    """Return whether who asks may read the text of conversations."""
    return request.user.has_perm("streaming_chat.view_transcript")


@admin.register(Conversation)
class ConversationAdmin(ModelAdmin):
    """Conversations, newest first."""

    list_display = ("named", "last_activity", "owned_by", "last_status", "model", "message_count", "tokens")
    list_display_links = ("named",)
    list_filter = ("last_status", OwnerFilter, ModelFilter, "last_activity")
    list_select_related = ("owner",)
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
    actions = None
    # With both off, the list's template writes a style element, which a strict policy blocks.
    actions_on_top = True

    def get_urls(self) -> list[Any]:
        """Return the usual addresses and the search's, which take GET and HEAD only."""
        search = path(
            "search/", self.admin_site.admin_view(self.search_view), name="streaming_chat_conversation_search"
        )
        urls = [search, *super().get_urls()]
        for url in urls:
            url.callback = require_safe(url.callback)
        return urls

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
        hidden = ["system_prompt", "metadata"] if may_read(request) else ["system_prompt", "metadata", "title"]
        return super().get_queryset(request).defer(*hidden)

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
        reader = request.user if may_read(request) else None
        try:
            return searches.find(queryset, search_term, reader=reader), False
        except SearchUnavailable:
            messages.warning(request, _("Texts cannot be searched here: this SQLite was built without FTS5."))
            return searches.by_names(queryset, search_term), False

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

    @admin.display(description=_("tokens in / out"))
    def tokens(self, conversation: Conversation) -> str:
        """Return what it used."""
        return f"{localize(conversation.input_tokens)} / {localize(conversation.output_tokens)}"

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
        transcript = Transcript.open(
            _uuid(object_id),
            through=_uuid(request.GET["message"]) if "message" in request.GET else None,
            sought=_sought(request),
            page=request.GET.get("page"),
            may_read=may_read(request),
        )
        if transcript is None or not self.has_view_permission(request, transcript.conversation):
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": transcript.conversation,
            "has_view_permission": True,
            "title": transcript.title,
            "media": forms.Media(css={"all": ["streaming_chat/admin/transcript.css"]}),
            "transcript": transcript,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/streaming_chat/conversation/transcript.html", context)


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
