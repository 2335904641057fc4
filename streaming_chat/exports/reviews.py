"""What reviewers have recorded of exported conversations: reviews with notes, verdicts, labels and corrected answers."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F

from streaming_chat.models import Conversation, ReviewNotes, Verdict

from .rows import Row

# Field of the export -> column of Conversation.
_REVIEW_COLUMNS = {
    "state": "review_state",
    "taken_at": "review__taken_at",
    "done_at": "review__done_at",
    "through": "review__through_id",
    "notes": "review__notes",
}
_VERDICT_COLUMNS = ("value", "labels", "correction", "created_at", "updated_at")


class Reviews:
    """The reviews of a page of conversations. Three queries, however many messages there are."""

    def __init__(self, conversations: Sequence[uuid.UUID], using: str) -> None:
        self._reviews = _read_reviews(conversations, using)
        self._notes = _read_notes(conversations, using)
        self._verdicts = read_verdicts(conversations, using)

    def add_to_conversation(self, row: Row) -> None:
        """Add the review, with all versions of its notes, and the verdicts on the conversation as a whole."""
        review = self._reviews.get(row["id"], {})
        row["review"] = {**review, "notes_history": self._notes.get(row["id"], [])}
        row["verdicts"] = self._verdicts.get((row["id"], None), [])

    def add_to_message(self, row: Row) -> None:
        """Add the verdicts on a message."""
        row["verdicts"] = self._verdicts.get((row["conversation"], row["id"]), [])


def _read_reviews(conversations: Sequence[uuid.UUID], using: str) -> dict[uuid.UUID, Row]:
    name = get_user_model().USERNAME_FIELD
    columns = {**_REVIEW_COLUMNS, "reviewer": f"review__reviewer__{name}", "done_by": f"review__done_by__{name}"}
    rows = Conversation.objects.using(using).filter(pk__in=conversations).order_by()
    reviews = {}
    for pk, *values in rows.values_list("pk", *columns.values()):
        review = dict(zip(columns, values, strict=True))
        reviews[pk] = {**review, "notes": review["notes"] or ""}
    return reviews


def _read_notes(conversations: Sequence[uuid.UUID], using: str) -> dict[uuid.UUID, list[Row]]:
    """Return all versions of the notes by conversation, the oldest first."""
    name = f"by__{get_user_model().USERNAME_FIELD}"
    rows = ReviewNotes.objects.using(using).filter(conversation__in=conversations).order_by("pk")
    notes = defaultdict(list)
    for conversation, by, created_at, text in rows.values_list("conversation_id", name, "created_at", "text"):
        notes[conversation].append({"by": by, "created_at": created_at, "text": text})
    return notes


def read_verdicts(conversations: Sequence[uuid.UUID], using: str) -> dict[tuple[uuid.UUID, uuid.UUID | None], Any]:
    """Return the verdicts by conversation and message, None for the conversation as a whole; the oldest first. One query."""
    name = f"by__{get_user_model().USERNAME_FIELD}"
    rows = Verdict.objects.using(using).filter(conversation__in=conversations).order_by("pk")
    verdicts = defaultdict(list)
    for row in rows.values("conversation_id", "message_id", *_VERDICT_COLUMNS, reviewer=F(name)):
        target = row.pop("conversation_id"), row.pop("message_id")
        verdicts[target].append({"by": row.pop("reviewer"), **row})
    return verdicts


def newest_correction(verdicts: list[Row]) -> Row | None:
    """Return the verdict whose correction was changed last; None without a correction."""
    corrected = [verdict for verdict in verdicts if verdict["correction"]]
    return max(corrected, key=itemgetter("updated_at"), default=None)


def describe(verdict: Row) -> str:
    """Return a verdict as a person reads it: "rita: bad, rude"."""
    corrected = "corrected" if verdict["correction"] else ""
    return f"{reviewer_of(verdict)}: {', '.join(filter(None, [verdict['value'], *verdict['labels'], corrected]))}"


def reviewer_of(verdict: Row) -> str:
    """Return the username of the reviewer, or "?" if the account was deleted."""
    return verdict["by"] or "?"
