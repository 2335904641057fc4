"""The list of access records: which member of staff read what. Read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from streaming_chat.models import AccessRecord, Conversation

from .lists import ListAdmin, may_read, record_list
from .pages import as_uuid, owner_keys, retry_on_lock_timeout, transcript_url

# Of an owner, the newest.
_MAX_CONVERSATIONS = 1_000


@admin.register(AccessRecord)
class AccessRecordAdmin(ListAdmin):
    """Access records, newest first. Search terms are text: only users who may read texts see them."""

    list_display = ("at", "named", "kind", "about", "count", "reason")
    list_filter = ("kind", "at")
    list_per_page = 100
    ordering = ("-at", "-id")
    # Other lookups would reveal search terms letter by letter.
    allowed_lookups = frozenset({"kind__exact", "at__gte", "at__lt"})
    search_help_text = _("The id of a conversation or message, an owner key, or the name of a member of staff.")

    @retry_on_lock_timeout
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list. It has an access record, since search terms are text."""
        response = super().changelist_view(request, extra_context)
        record_list(request, response)
        return response

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessRecord]:
        """Do not load search terms for users who may not read texts."""
        records = super().get_queryset(request).defer("by")
        return records if may_read(request) else records.defer("by", "terms")

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show search terms only to users who may read texts."""
        return [*self.list_display, "terms"] if may_read(request) else self.list_display

    def search(self, request: HttpRequest, queryset: QuerySet[AccessRecord], words: str) -> QuerySet[AccessRecord]:
        """Search by conversation, message, owner key or name."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(Q(conversation=pk) | Q(message=pk))
        if keys := owner_keys(words):
            owned = Conversation.objects.filter(owner_key__in=keys).order_by("-last_activity", "-pk")
            ids = list(owned.values_list("pk", flat=True)[:_MAX_CONVERSATIONS])
            return queryset.filter(Q(owner_key__in=keys) | Q(conversation__in=ids))
        return queryset.filter(by_name=words)

    @admin.display(description=_("by"))
    def named(self, record: AccessRecord) -> SafeString:
        """The name that the user had then."""
        return format_html("<bdi>{}</bdi>", record.by_name or "–")

    @admin.display(description=_("about"))
    def about(self, record: AccessRecord) -> str | SafeString:
        """A link to what was read, which may be deleted since."""
        if record.conversation is None:
            return record.owner_key
        url = transcript_url(record.conversation, record.message)
        return format_html('<a href="{}">{}</a>', url, record.message or record.conversation)
