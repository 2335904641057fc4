"""The page of a search in all texts: messages, newest first, with snippets. Each page has an access record, saved first.

Reviewers see the verdicts on what was found, and on the first page the notes that match.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from streaming_chat.models import AccessRecord
from streaming_chat.privacy import accessed_owners
from streaming_chat.privacy.audit import record
from streaming_chat.search import query
from streaming_chat.search.query import Hit, SearchPage
from streaming_chat.search.tokenizer import terms

from .formats import owner_name
from .kept_searches import keep_search, words_of
from .lists import may_read
from .pages import render_page, retry_on_lock_timeout, transcript_url
from .review_bar import may_review
from .search_reviews import NotesResult, notes_results, verdicts_on
from .snippets import marked_snippets

_MAX_PAGES = query.MAX_HITS // query.PAGE_SIZE


@dataclass(frozen=True)
class Result:
    """A hit as the page shows it. verdicts: on the message and on the conversation, for reviewers."""

    hit: Hit
    url: str
    snippets: list[SafeString] = field(repr=False)
    verdicts: str = ""

    @property
    def label(self) -> str:
        """The role of the message, or that it is a title."""
        return str(self.hit.message.get_role_display()) if self.hit.message else _("title")

    @property
    def when(self) -> Any:
        """When it was created."""
        return (self.hit.message or self.hit.conversation).created_at

    @property
    def owner(self) -> str:
        """The name of the conversation's owner."""
        return owner_name(self.hit.conversation)


class SearchRequest:
    """The parameters of the page's address. Invalid ones are ignored. page: starts at 1."""

    def __init__(self, request: HttpRequest) -> None:
        self.key = request.GET.get(SEARCH_VAR, "")
        kept = words_of(request, self.key)
        self.is_gone = kept is None
        self.text = kept or ""
        self.before = _number(request.GET.get("before", ""))
        self.everything = request.GET.get("older") == "1"
        self.page = _number(request.GET.get("page", "")) or 1

    def next_url(self, found: SearchPage) -> str:
        """Return the address of the next page; "" if there is none."""
        if found.next is None or self.page >= _MAX_PAGES:
            return ""
        return self._url(found.next, self.page + 1, everything=self.everything)

    def older_url(self, found: SearchPage) -> str:
        """Return the address of older texts; "" if this page shows them."""
        if self.everything or not found.terms:
            return ""
        return self._url(query.first_recent_number(), 1, everything=True)

    def _url(self, before: int, page: int, *, everything: bool) -> str:
        parameters = {SEARCH_VAR: self.key, "before": str(before), "page": str(page)}
        if everything:
            parameters["older"] = "1"
        return f"?{urlencode(parameters)}"


@retry_on_lock_timeout
def search_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the results of a search, or keep the words of a new one. Raises PermissionDenied without the right to read."""
    if not (may_read(request) and model_admin.has_view_permission(request)):
        raise PermissionDenied
    if request.method == "POST":
        return _to_results(keep_search(request), model_admin.admin_site.name)
    asked = SearchRequest(request)
    found = SearchPage([], [])
    notes: list[NotesResult] = []
    site = model_admin.admin_site.name
    is_reviewer = may_review(request)
    if terms(asked.text):
        search = record(AccessRecord.Kind.SEARCH, request.user, terms=asked.text)
        found = query.search(asked.text, before=asked.before, everything=asked.everything)
        notes = notes_results(found.terms, site) if is_reviewer and asked.before is None else []
        shown = [hit.conversation for hit in found.hits] + [result.notes.conversation for result in notes]
        accessed_owners.add(search, [conversation.owner_key for conversation in shown])
    context = {
        **_context(asked, found),
        "results": _results(found, site, verdicts_on(found.hits) if is_reviewer else {}),
        "notes": notes,
    }
    return render_page(model_admin, request, "search", context)


def _to_results(key: str, site: str) -> HttpResponse:
    query = {SEARCH_VAR: key} if key else None
    return HttpResponseRedirect(reverse("admin:streaming_chat_conversation_search", query=query, current_app=site))


def _results(found: SearchPage, site: str, verdicts: dict[int, str]) -> list[Result]:
    return [
        Result(
            hit,
            _hit_url(hit, site),
            marked_snippets(hit.text, found.terms),
            verdicts.get(hit.number, ""),
        )
        for hit in found.hits
    ]


def _context(asked: SearchRequest, found: SearchPage) -> dict[str, Any]:
    return {
        "title": _("Search texts"),
        "media": forms.Media(css={"all": ["streaming_chat/admin/search.css"]}),
        "query": asked.text,
        "is_gone": asked.is_gone,
        "has_terms": bool(found.terms),
        "is_older": asked.everything,
        "is_first": asked.before is None,
        "next": asked.next_url(found),
        "older": asked.older_url(found),
        "is_full": found.next is not None and asked.page >= _MAX_PAGES,
        "most": query.MAX_HITS,
        "days": query.RECENT.days,
    }


def _number(text: str) -> int | None:
    # An entry's number has at most 19 digits.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else None


def _hit_url(hit: Hit, site: str) -> str:
    """Return the address of a hit in its transcript."""
    return transcript_url(hit.conversation.pk, hit.message and hit.message.pk, site=site)
