"""Lists that nobody changes anything in, of a million rows; and who may read text, in them and in transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from django.views.decorators.http import require_safe

from streaming_chat.models import AccessRecord
from streaming_chat.privacy.accesses import record
from streaming_chat.protocol.text import storable

from .pagination import BoundedPaginator

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


def may_read(request: HttpRequest) -> bool:
    """Return whether who asks may read the text of conversations."""
    return request.user.has_perm("streaming_chat.view_transcript")


def may_see(request: HttpRequest) -> bool:
    """Return whether who asks may see conversations and replies without their text. To change them is no leave to see."""
    return request.user.has_perm("streaming_chat.view_conversation")


def record_list(request: HttpRequest, response: Any) -> None:
    """Put on record that a list is about to show texts of its rows, unless a search in texts is, which says more."""
    changelist = (getattr(response, "context_data", None) or {}).get("cl")
    if changelist is None or not may_read(request) or getattr(request, "searched_texts", False):
        return
    if count := len(changelist.result_list):
        terms = f"{request.path}?{query_on_record(request)}".removesuffix("?")
        record(AccessRecord.Kind.LIST, request.user, terms=terms, count=count)


def query_on_record(request: HttpRequest) -> str:
    """Return what a list was asked for, to be put on record. Words sought in texts are on record as that, and once only."""
    query = request.GET.copy()
    if getattr(request, "searched_texts", False):
        query.pop(SEARCH_VAR, None)
    # As it reads, so that whom it names is found when they are erased.
    return storable(unquote_plus(query.urlencode()))


class ListAdmin(ModelAdmin):
    """A list and nothing besides: no page of a row, nothing added or changed."""

    list_display_links = None
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    # Not read: it shows the search box, get_search_results finds.
    search_fields = ("id",)
    actions = None
    # With both off, the list's template writes a style element, which a strict policy blocks.
    actions_on_top = True

    @property
    def media(self) -> forms.Media:
        """No script: jQuery, which Django's has, does not run where a policy requires trusted types."""
        return forms.Media(css={"all": ["streaming_chat/admin/list.css"]})

    def get_urls(self) -> list[Any]:
        """Return the list's address alone, which takes GET and HEAD."""
        urls = [url for url in super().get_urls() if (url.name or "").endswith("_changelist")]
        for url in urls:
            url.callback = require_safe(url.callback)
        return urls

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds rows here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes rows here."""
        return False
