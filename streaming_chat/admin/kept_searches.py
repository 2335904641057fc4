"""The words of searches in the admin: sent with POST, kept in the user's session, and named by a random id in addresses.

Servers log addresses, and the words are text. Filters, pages, exports and the way back from a transcript carry the id.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.http import HttpRequest

from streaming_chat.protocol.storable_text import storable

SESSION_KEY = "streaming_chat_searches"
# Of the filter by metadata, whose value is text as well. Not the column's name, which is no lookup in any list.
METADATA_VAR = "meta"
KEPT_VARS = (SEARCH_VAR, METADATA_VAR)
# Longer than any id.
MAX_CHARS = 500
# A session in a cookie has room for 4 KB.
_MAX_KEPT = 20
_MAX_KEPT_CHARS = 1_000


def clean_query(text: str) -> str:
    """Return a search query as it can be stored."""
    return storable(text).strip()[:MAX_CHARS]


def keep_search(request: HttpRequest) -> str:
    """Keep the words that the form of a search has sent, and return their id; "" for no words."""
    return keep_words(request, clean_query(request.POST.get(SEARCH_VAR, "")))


def keep_metadata(request: HttpRequest) -> str:
    """Keep the key and the value that the filter by metadata has sent, as key=value, and return their id; "" for none."""
    value = clean_query(request.POST.get(METADATA_VAR, ""))
    return keep_words(request, clean_query(f"{request.POST.get('key', '')}={value}") if value else "")


def keep_words(request: HttpRequest, words: str) -> str:
    """Keep words in place of the oldest ones, and return their id; "" for no words."""
    if not words:
        return ""
    key = secrets.token_urlsafe(9)
    kept = {**request.session.get(SESSION_KEY, {}), key: words}
    while len(kept) > _MAX_KEPT or sum(map(len, kept.values())) > _MAX_KEPT_CHARS:
        del kept[next(iter(kept))]
    request.session[SESSION_KEY] = kept
    return key


def words_of(request: HttpRequest, key: str) -> str | None:
    """Return the words of a search by its id; "" for "", and None for an id that the session does not have."""
    return request.session.get(SESSION_KEY, {}).get(key) if key else ""


class SearchedList(ChangeList):
    """A list whose address names the search. words: what it searches for, None if the session does not have them."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.words = words_of(request, request.GET.get(SEARCH_VAR, ""))
        super().__init__(request, *args, **kwargs)

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of a page by their ids, which the same query finds.

        SQLite would compute all columns of all rows that it sorts, 2,000 for many filters, and among them subqueries.
        """
        super().get_results(request)
        ids = self.result_list.values("pk")
        rows = self.apply_select_related(self.root_queryset).filter(pk__in=ids)
        self.result_list = rows.order_by(*self.get_ordering(request, self.queryset))

    @property
    def filters(self) -> str:
        """The query string with the filters alone, which another search keeps."""
        return self.get_query_string({SEARCH_VAR: None, PAGE_VAR: None})
