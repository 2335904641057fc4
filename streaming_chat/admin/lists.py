"""Read-only lists of a million rows, and the permissions to see them and to read texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_plus

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.functional import cached_property
from django.views.decorators.http import require_safe

from streaming_chat.models import AccessRecord
from streaming_chat.privacy import accessed_owners
from streaming_chat.privacy.audit import record
from streaming_chat.protocol.storable_text import storable

from .kept_searches import KEPT_VARS, METADATA_VAR, SearchedList, keep_metadata, keep_search, words_of
from .pages import post_only

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

# For rows further back, there are filters and the search. Counting 1,000 rows takes 1 ms, a million 100 ms and more.
MAX_COUNT = 1_000


def may_read(request: HttpRequest) -> bool:
    """Return whether the user may read the text of conversations."""
    return request.user.has_perm("streaming_chat.view_transcript")


def may_see(request: HttpRequest) -> bool:
    """Return whether the user may see conversations and replies without text. `change_conversation` does not allow it."""
    return request.user.has_perm("streaming_chat.view_conversation")


def record_list(request: HttpRequest, response: Any, owner_key_of: Callable[[Any], str] | None = None) -> None:
    """Save an access record for a list that shows texts, unless a search in texts has saved one, which says more.

    owner_key_of: returns whose text a row shows. None if the record is to name no owners: a title is not the conversation,
    and each page of titles would be in the records of fifty people.
    """
    changelist = (getattr(response, "context_data", None) or {}).get("cl")
    if changelist is None or not may_read(request):
        return
    owner_keys = [owner_key_of(row) for row in changelist.result_list] if owner_key_of else []
    if search := getattr(request, "search_record", None):
        accessed_owners.add(search, owner_keys)
    elif count := len(changelist.result_list):
        terms = f"{request.path}?{query_on_record(request)}".removesuffix("?")
        record(AccessRecord.Kind.LIST, request.user, owner_keys=owner_keys, terms=terms, count=count)


def query_on_record(request: HttpRequest) -> str:
    """Return the query of a list for its access record, with the words that it names by an id.

    Those of a search that has a record of its own are left out.
    """
    query = request.GET.copy()
    for name in KEPT_VARS:
        words = words_of(request, query.get(name, ""))
        if not words or (name == SEARCH_VAR and hasattr(request, "search_record")):
            query.pop(name, None)
        else:
            query[name] = words
    # Unquoted, so that an erasure finds the names in it.
    return storable(unquote_plus(query.urlencode()))


class MaxCount(int):
    """MAX_COUNT rows or more."""

    def __str__(self) -> str:
        # Three characters, since templates group by three where the site asks for it.
        return f"{int(self) // 1000}k+"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # Generic in the stubs only.
    """Counts up to MAX_COUNT; there are no pages beyond it."""

    object_list: Any

    @cached_property
    def count(self) -> int:
        """The number of rows, at most MAX_COUNT."""
        # The ids alone: SQLite would compute the other columns.
        found = self.object_list.order_by().values("pk")[:MAX_COUNT].count()
        return found if found < MAX_COUNT else MaxCount(MAX_COUNT)


class _ActionForm(ActionForm):
    """The form of the list's actions. django-unfold shows its button when Alpine knows that an action is chosen."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["action"].widget.attrs["x-model"] = "action"


class ReadOnlyAdmin(ModelAdmin):
    """A list in which nothing is added, changed or deleted, searched with POST.

    allowed_lookups: of the links of its filters.
    """

    list_max_show_all = 0
    action_form = _ActionForm
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    allowed_lookups: frozenset[str]
    # Only makes Django show the search box; `search` searches.
    search_fields: ClassVar[tuple[str, ...]] = ("id",)
    # With both off, the template has a style element, which a strict Content Security Policy blocks.
    actions_on_top = True

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only the lookups of the filters' links."""
        return lookup in self.allowed_lookups

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SearchedList]:
        """Return the list that knows the words of its search."""
        return SearchedList

    def get_urls(self) -> list[Any]:
        """Add the address that takes the words of a search."""
        name = f"streaming_chat_{self.opts.model_name}_find"
        return [path("find/", post_only(self, self.find_view), name=name), *super().get_urls()]

    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Keep the words of a search or of the filter by metadata, and redirect to the list with their id.

        The list keeps the other filters of this address.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = request.GET.copy()
        is_filter = METADATA_VAR in request.POST
        parameter, keep = (METADATA_VAR, keep_metadata) if is_filter else (SEARCH_VAR, keep_search)
        query.pop(parameter, None)
        if key := keep(request):
            query[parameter] = key
        name = f"admin:streaming_chat_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(reverse(name, query=query or None, current_app=self.admin_site.name))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for the words of this id. Nothing is found by others, nor by Django's autocomplete, which has words."""
        words = words_of(request, search_term)
        if words is None:
            return queryset.none(), False
        return self.search(request, queryset, words) if words else queryset, False

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        """Return the rows that match, by ids, names and, for users who may read, words of texts."""
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds rows here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes rows here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes rows here; on other pages, such as the owner's, the permission decides."""
        match = request.resolver_match
        if obj is None or match is None or (match.url_name or "").startswith("streaming_chat_"):
            return False
        return super().has_delete_permission(request, obj)


class ListAdmin(ReadOnlyAdmin):
    """A list without pages for its rows."""

    list_display_links = None
    sortable_by = ()
    actions = None

    @property
    def media(self) -> forms.Media:
        """No script: Django's own needs jQuery, which does not run under a policy that requires Trusted Types."""
        return forms.Media(css={"all": ["streaming_chat/admin/list.css"]})

    def get_urls(self) -> list[Any]:
        """Return only the addresses of the list, which takes GET and HEAD, and of its search."""
        find, *urls = super().get_urls()
        urls = [url for url in urls if (url.name or "").endswith("_changelist")]
        for url in urls:
            url.callback = require_safe(url.callback)
        return [find, *urls]
