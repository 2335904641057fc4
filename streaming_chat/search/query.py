"""Searches texts by their words, newest first, a page at a time. Nothing is counted, so common words cost what rare ones do.

Any text can be searched for: it is turned into words first, so none of the databases' own query syntax is left.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message, SearchEntry

from . import backends
from .entries import first_number_at
from .tokenizer import Term, terms

RECENT = timedelta(days=90)
MAX_HITS = 1_000
# For a list of conversations, 6 pages. A phrase of common words takes PostgreSQL 22 ms for this many, 102 ms for 1,000.
MAX_LISTED_HITS = 300
PAGE_SIZE = 20


@dataclass(frozen=True)
class Hit:
    """A message that matches, or a conversation whose title does. number: of its entry."""

    number: int
    conversation: Conversation
    message: Message | None

    @property
    def text(self) -> str:
        """The text that matches."""
        return self.message.text if self.message else self.conversation.title


@dataclass(frozen=True)
class SearchPage:
    """A page of hits, newest first. next: the `before` of the next page; None on the last."""

    terms: Sequence[Term] = field(repr=False)
    hits: list[Hit] = field(repr=False)
    next: int | None = None


def search(text: str, *, before: int | None = None, everything: bool = False, size: int = PAGE_SIZE) -> SearchPage:
    """Return the newest texts with all the terms, of the last 90 days or of all time. Blocking.

    before: `next` of the previous page.
    """
    parsed = terms(text)
    # No page shows the deferred columns.
    rows = list(
        _entries(parsed, before=before, everything=everything, size=size + 1)
        .select_related("conversation__owner", "message")
        .defer("words", "message__parts", "conversation__system_prompt", "conversation__metadata")
        .order_by("-pk")
    )
    hits = [Hit(row.pk, row.conversation, row.message) for row in rows[:size]]
    return SearchPage(parsed, hits, hits[-1].number if len(rows) > size else None)


def conversations(text: str) -> tuple[set[uuid.UUID], bool]:
    """Return the conversations of the newest MAX_LISTED_HITS of the last 90 days, and whether there are more. Blocking."""
    entries = _entries(terms(text), size=MAX_LISTED_HITS + 1).order_by("-pk")
    ids = list(entries.values_list("conversation", flat=True))
    return set(ids[:MAX_LISTED_HITS]), len(ids) > MAX_LISTED_HITS


def _entries(
    parsed: Sequence[Term], *, before: int | None = None, everything: bool = False, size: int
) -> QuerySet[SearchEntry]:
    """Return the newest entries with all the terms; none without a term."""
    using = live_database()
    entries = SearchEntry.objects.using(using)
    if not parsed:
        return entries.none()
    first = 0 if everything else first_recent_number()
    end = _LARGEST if before is None else min(before, _LARGEST)
    statement, query = _QUERIES[connections[using].vendor]
    return entries.filter(pk__in=RawSQL(statement, [query(parsed), first, end, size]))  # noqa: S611  (parameters only)


def first_recent_number() -> int:
    """Return the lowest entry number of the last 90 days."""
    return first_number_at(int((time.time() - RECENT.total_seconds()) * 1000))


_LARGEST = 2**63 - 1
_FTS5 = (
    f"SELECT rowid FROM {backends.WORDS} WHERE {backends.WORDS} MATCH %s AND rowid >= %s AND rowid < %s "
    "ORDER BY rowid DESC LIMIT %s"
)
# Planned for MAX_HITS, but read only as far as a page. Planned for a page, PostgreSQL would go through the newest rows,
# assuming that some of them match. For a word in none of 300,000 rows it read all of them: 340 ms, this way 2 ms.
_TSVECTOR = (
    f"WITH newest AS MATERIALIZED (SELECT id FROM {backends.TABLE} WHERE words @@ %s::tsquery AND id >= %s AND id < %s "
    f"ORDER BY id DESC LIMIT {MAX_HITS}) SELECT id FROM newest LIMIT %s"
)


def _fts5(parsed: Sequence[Term]) -> str:
    return " AND ".join(f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in parsed)


def _tsquery(parsed: Sequence[Term]) -> str:
    return " & ".join(f"({phrase(term)})" for term in parsed)


def phrase(term: Term) -> str:
    """Return a term as a tsquery of PostgreSQL."""
    *others, last = (f"'{word}'" for word in term.words)
    return " <-> ".join([*others, f"{last}:*" if term.is_prefix else last])


_QUERIES: dict[str, Any] = {"sqlite": (_FTS5, _fts5), "postgresql": (_TSVECTOR, _tsquery)}
