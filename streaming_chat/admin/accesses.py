"""Who of the staff read what: a list that nobody changes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from streaming_chat.models import AccessRecord

from .decorators import retry_on_lock_timeout
from .lists import ListAdmin, may_read, record_list
from .searches import as_uuid


@admin.register(AccessRecord)
class AccessRecordAdmin(ListAdmin):
    """Readings, newest first. What was sought is text: only who may read texts sees it."""

    list_display = ("at", "named", "kind", "about", "count")
    list_filter = ("kind", "at")
    list_per_page = 100
    ordering = ("-at", "-id")
    search_help_text = _("The id of a conversation or message, an owner key, or the name of who read.")

    @retry_on_lock_timeout
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Answer with the list, in which what was sought is text."""
        response = super().changelist_view(request, extra_context)
        record_list(request, response)
        return response

    def has_delete_permission(self, request: HttpRequest, obj: AccessRecord | None = None) -> bool:
        """Nobody deletes records here."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow what the filters' links ask: any other column would tell what was sought, letter by letter."""
        return lookup in {"kind__exact", "at__gte", "at__lt"}

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessRecord]:
        """Return records, without what was sought for who may not read texts."""
        records = super().get_queryset(request).defer("by")
        return records if may_read(request) else records.defer("by", "terms")

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show what was sought only to who may read texts."""
        return [*self.list_display, "terms"] if may_read(request) else self.list_display

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AccessRecord], search_term: str
    ) -> tuple[QuerySet[AccessRecord], bool]:
        """Find by what it was about, or who it was."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if (sought := as_uuid(term)) is not None:
            return queryset.filter(Q(conversation=sought) | Q(message=sought)), False
        return queryset.filter(Q(by_name=term) | Q(owner_key=term)), False

    @admin.display(description=_("by"))
    def named(self, record: AccessRecord) -> SafeString:
        """Return who it was, by the name of then."""
        return format_html("<bdi>{}</bdi>", record.by_name or "–")

    @admin.display(description=_("about"))
    def about(self, record: AccessRecord) -> str | SafeString:
        """Link what was read; it may be gone since."""
        if record.conversation is None:
            return record.owner_key
        url = reverse("admin:streaming_chat_conversation_change", args=[record.conversation])
        if record.message is not None:
            url = f"{url}?message={record.message}#m-{record.message}"
        return format_html('<a href="{}">{}</a>', url, record.message or record.conversation)
