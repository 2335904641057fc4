"""The lists of tools that MCP servers have offered, with what each server says of them. Read-only."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from streaming_chat.models import ToolList

from .lists import ListAdmin, may_see
from .pages import as_uuid


@admin.register(ToolList)
class ToolListAdmin(ListAdmin):
    """Lists, newest first. They have no text of conversations."""

    list_display = ("created_at", "server_name", "tools")
    # Each has up to 128 tools.
    list_per_page = 10
    ordering = ("-created_at", "-pk")
    allowed_lookups: frozenset[str] = frozenset()
    search_help_text = _("The id of a conversation, or a part of the server’s address.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the lists to users who see the conversations."""
        return may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: ToolList | None = None) -> bool:
        """Show the lists to users who see the conversations."""
        return may_see(request)

    def search(self, request: HttpRequest, queryset: QuerySet[ToolList], words: str) -> QuerySet[ToolList]:
        """Search by conversation or server."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(conversations=pk)
        return queryset.filter(server__icontains=words)

    @admin.display(description=_("server"))
    def server_name(self, tools: ToolList) -> SafeString:
        """The address, from left to right in every language."""
        return format_html('<bdi dir="ltr">{}</bdi>', tools.server)

    @admin.display(description=_("tools"))
    def tools(self, tools: ToolList) -> SafeString:
        """What the server says of each tool, folded."""
        row = '<details><summary><bdi>{}</bdi></summary><p dir="auto">{}</p><pre dir="ltr">{}</pre></details>'
        return format_html_join("", row, map(_cells, json.loads(tools.definitions)))


def _cells(definition: dict[str, Any]) -> tuple[str, str, str]:
    schema = json.dumps(definition["parameters"], ensure_ascii=False, indent=2)
    return definition["name"], definition["description"] or "–", schema
