"""The page of a search in all texts: messages, newest first, with what was found in them. Each page is recorded first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from streaming_chat.models import AccessRecord
from streaming_chat.privacy.accesses import record
from streaming_chat.search import query
from streaming_chat.search.query import Hit, Hits, SearchUnavailable
from streaming_chat.search.tokenizer import terms

from .lists import may_read
from .passages import passages
from .searches import sought_in
from .transcripts import owner_name

_MAX_PAGES = query.MAX_HITS // query.PAGE_SIZE


@dataclass(frozen=True)
class Result:
    """A hit as it is shown."""

    hit: Hit
    url: str
    passages: list[SafeString] = field(repr=False)

    @property
    def label(self) -> str:
        """Who said it; of a title, that it is one."""
        return str(self.hit.message.get_role_display()) if self.hit.message else _("title")

    @property
    def when(self) -> Any:
        """When it was made."""
        return (self.hit.message or self.hit.conversation).created_at

    @property
    def owner(self) -> str:
        """Whose it is."""
        return owner_name(self.hit.conversation)


def page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Answer a search. Raises PermissionDenied for who may not read texts."""
    if not (may_read(request) and model_admin.has_view_permission(request)):
        raise PermissionDenied
    asked = _Asked(request)
    found = Hits([], [])
    is_unavailable = False
    if terms(asked.sought):
        record(AccessRecord.Kind.SEARCH, request.user, terms=asked.sought)
        try:
            found = query.look(asked.sought, before=asked.before, everything=asked.everything)
        except SearchUnavailable:
            is_unavailable = True
    site = model_admin.admin_site
    context = {
        **site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Search texts"),
        "media": forms.Media(css={"all": ["streaming_chat/admin/search.css"]}),
        "sought": asked.sought,
        "has_terms": bool(found.terms),
        "is_unavailable": is_unavailable,
        "is_older": asked.everything,
        "is_first": asked.before is None,
        "results": [Result(hit, _url(hit, site.name), passages(hit.text, found.terms)) for hit in found.hits],
        "next": asked.following(found),
        "older": asked.older(found),
        "is_full": found.next is not None and asked.number >= _MAX_PAGES,
        "most": query.MAX_HITS,
        "days": query.RECENT.days,
    }
    request.current_app = site.name
    return TemplateResponse(request, "admin/streaming_chat/conversation/search.html", context)


class _Asked:
    """What an address of the page says; what it says wrongly counts as not said."""

    def __init__(self, request: HttpRequest) -> None:
        self.sought = sought_in(request.GET.get("q", ""))
        self.before = _number(request.GET.get("before", ""))
        self.everything = request.GET.get("older") == "1"
        # Starts at 1.
        self.number = _number(request.GET.get("page", "")) or 1

    def following(self, found: Hits) -> str:
        """Return the query of the next page, "" for none."""
        if found.next is None or self.number >= _MAX_PAGES:
            return ""
        return self._query(found.next, self.number + 1, everything=self.everything)

    def older(self, found: Hits) -> str:
        """Return the query of what is older than the recent hits, "" where that was asked."""
        if self.everything or not found.terms:
            return ""
        return self._query(query.recent_number(), 1, everything=True)

    def _query(self, before: int, page: int, *, everything: bool) -> str:
        parameters = {"q": self.sought, "before": str(before), "page": str(page)} | (
            {"older": "1"} if everything else {}
        )
        return f"?{urlencode(parameters)}"


def _number(text: str) -> int | None:
    # As many digits as a number of an entry has at most.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else None


def _url(hit: Hit, site: str) -> str:
    """Return where it stands in its transcript."""
    url = reverse("admin:streaming_chat_conversation_change", args=[hit.conversation.pk], current_app=site)
    return f"{url}?message={hit.message.pk}#m-{hit.message.pk}" if hit.message else url
