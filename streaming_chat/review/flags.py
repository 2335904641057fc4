"""Review flags: the columns of a conversation that put it into the queues."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, F, Value, When

from streaming_chat.models import ReviewState


def columns_on_change(went_wrong: bool) -> dict[str, Any]:
    """Return the columns to set if something is added to a conversation: a finished review is open again."""
    done = When(review_state=ReviewState.DONE, then=Value(ReviewState.UNREVIEWED))
    columns: dict[str, Any] = {"review_state": Case(done, default=F("review_state"))}
    if went_wrong:
        columns["needs_attention"] = True
    return columns
