"""Finds texts by their words, newest first, a page at a time; counts nothing, so that common words cost what rare ones do.

Any text may be sought: it becomes words before a database sees it, so that no syntax of theirs is left.
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
from .entries import at_millisecond
from .tokenizer import Term, terms

RECENT = timedelta(days=90)
MAX_HITS = 1_000
# Of a list of conversations, 6 pages: a phrase of common words takes PostgreSQL 22 ms for these, 102 for 1,000.
MAX_LISTED_HITS = 300
PAGE_SIZE = 20


class SearchUnavailable(Exception):
    """The database cannot search texts: a SQLite without FTS5."""


@dataclass(frozen=True)
class Hit:
    """A message that has the words, or a conversation whose title has them. number: of its entry."""

    number: int
    conversation: Conversation
    message: Message | None

    @property
    def text(self) -> str:
        """What was found in."""
        return self.message.text if self.message else self.conversation.title


@dataclass(frozen=True)
class Hits:
    """A page of them, newest first. next: the number that the next page begins before, None for the last."""

    terms: Sequence[Term] = field(repr=False)
    hits: list[Hit] = field(repr=False)
    next: int | None = None


def look(sought: str, *, before: int | None = None, everything: bool = False, size: int = PAGE_SIZE) -> Hits:
    """Return the newest that have all that is sought, of the last 90 days or of everything. Blocking.

    before: as an earlier page's `next`. Raises SearchUnavailable.
    """
    found = terms(sought)
    # The words stay in the database, and so does what no page shows.
    rows = list(
        _entries(found, before=before, everything=everything, size=size + 1)
        .select_related("conversation__owner", "message")
        .defer("words", "message__parts", "conversation__system_prompt", "conversation__metadata")
        .order_by("-pk")
    )
    hits = [Hit(row.pk, row.conversation, row.message) for row in rows[:size]]
    return Hits(found, hits, hits[-1].number if len(rows) > size else None)


def conversations(sought: str) -> tuple[set[uuid.UUID], bool]:
    """Return the conversations of the newest MAX_LISTED_HITS of the last 90 days, and whether there are more hits.

    Blocking. Raises SearchUnavailable.
    """
    entries = _entries(terms(sought), size=MAX_LISTED_HITS + 1).order_by("-pk")
    found = list(entries.values_list("conversation", flat=True))
    return set(found[:MAX_LISTED_HITS]), len(found) > MAX_LISTED_HITS


def _entries(
    sought: Sequence[Term], *, before: int | None = None, everything: bool = False, size: int
) -> QuerySet[SearchEntry]:
    """Return the newest entries that have all of these terms; none for no term."""
    using = live_database()
    entries = SearchEntry.objects.using(using)
    if not sought:
        return entries.none()
    if not backends.is_available(using):
        raise SearchUnavailable
    since = 0 if everything else recent_number()
    upto = _LARGEST if before is None else min(before, _LARGEST)
    statement, query = _QUERIES[connections[using].vendor]
    return entries.filter(pk__in=RawSQL(statement, [query(sought), since, upto, size]))  # noqa: S611  (parameters only)


def recent_number() -> int:
    """Return the first number of the last 90 days."""
    return at_millisecond(int((time.time() - RECENT.total_seconds()) * 1000))


_LARGEST = 2**63 - 1
_FTS5 = (
    f"SELECT rowid FROM {backends.WORDS} WHERE {backends.WORDS} MATCH %s AND rowid >= %s AND rowid < %s "
    "ORDER BY rowid DESC LIMIT %s"
)
# Planned for MAX_HITS, and read as far as a page goes. Planned for a page, PostgreSQL goes through the newest rows, since
# some are bound to have a word that it knows nothing of: of one that none of 300,000 has, it read all, in 340 ms (so: 2).
_TSVECTOR = (
    f"WITH newest AS MATERIALIZED (SELECT id FROM {backends.TABLE} WHERE words @@ %s::tsquery AND id >= %s AND id < %s "
    f"ORDER BY id DESC LIMIT {MAX_HITS}) SELECT id FROM newest LIMIT %s"
)


def _fts5(sought: Sequence[Term]) -> str:
    return " AND ".join(f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in sought)


def _tsquery(sought: Sequence[Term]) -> str:
    return " & ".join(f"({_phrase(term)})" for term in sought)


def _phrase(term: Term) -> str:
    *others, last = (f"'{word}'" for word in term.words)
    return " <-> ".join([*others, f"{last}:*" if term.is_prefix else last])


_QUERIES: dict[str, Any] = {"sqlite": (_FTS5, _fts5), "postgresql": (_TSVECTOR, _tsquery)}
