"""Searches the notes of reviews by their words, newest first. For reviewers only: each caller checks the permission.

Notes have no index. They are short and few, so a search reads the newest MAX_READ versions.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db.models import Exists, OuterRef, QuerySet, Subquery, UUIDField, Value
from django.db.models.functions import Coalesce

from streaming_chat.db.alias import live_database
from streaming_chat.models import ReviewNotes

from .has_term import HasTerm
from .tokenizer import Term, terms

MAX_READ = 20_000


def matching_notes(parsed: Sequence[Term]) -> QuerySet[ReviewNotes]:
    """Return the notes with all the terms, as they are now; none without a term. Earlier versions are not found."""
    rows = ReviewNotes.objects.using(live_database())
    if not parsed:
        return rows.none()
    later = rows.filter(conversation=OuterRef("conversation"), pk__gt=OuterRef("pk"))
    found = rows.filter(pk__gte=_oldest_read(rows))
    for term in parsed:
        found = found.filter(HasTerm("words", term=term))
    return found.exclude(Exists(later)).defer("words").order_by("-pk")


def _oldest_read(rows: QuerySet[ReviewNotes]) -> Coalesce:
    """Return the id of the oldest notes that are read. Compared with a list of all ids, SQLite takes half the time."""
    oldest = rows.order_by("-pk").values("pk")[MAX_READ - 1 : MAX_READ]
    return Coalesce(Subquery(oldest), Value(uuid.UUID(int=0)), output_field=UUIDField())


def conversations(text: str, most: int) -> set[uuid.UUID]:
    """Return the conversations whose notes match: the newest `most`."""
    return set(matching_notes(terms(text)).values_list("conversation", flat=True)[:most])
