"""Reopening finished reviews: their conversations are unreviewed again, or in review by who reopens them.

Notes and verdicts stay. So does everything if a review is not finished any more when it would be reopened.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Review, ReviewState

from .reviews import StaleReviewError
from .rows import conversation_rows, review_of, save_change


def finished(
    by: Any = None, since: datetime | str | None = None, until: datetime | str | None = None
) -> QuerySet[Review]:
    """Return the finished reviews: of a reviewer, and of the time from since until before until."""
    rows = Review.objects.using(live_database()).filter(conversation__review_state=ReviewState.DONE)
    if by is not None:
        rows = rows.filter(done_by=by)
    if since is not None:
        rows = rows.filter(done_at__gte=since)
    if until is not None:
        rows = rows.filter(done_at__lt=until)
    return rows


def reopen(pk: uuid.UUID, by: Any, *, version: int | None = None, takes: bool = False) -> bool:
    """Reopen a finished review; False if it is not finished (any more).

    by: None for a command. version: of the review to reopen; StaleReviewError is raised for another one. takes: the
    conversation is then in review by this reviewer, else it is unreviewed.
    """

    def write() -> bool:
        state = ReviewState.IN_REVIEW if takes else ReviewState.UNREVIEWED
        # The update is the lock, and makes sure that only one reviewer reopens it.
        if not conversation_rows(pk).filter(review_state=ReviewState.DONE).update(review_state=state):
            return False
        review = review_of(pk)
        if version is not None and review.version != version:
            raise StaleReviewError(review)
        conversation_rows(pk).update(needs_attention=review.needed_attention)
        _clear_end(review)
        if takes:
            review.reviewer, review.taken_at = by, Now()
        save_change(review, by)
        return True

    return write_transaction(write)


def _clear_end(review: Review) -> None:
    review.done_by = review.done_at = review.through = None
    review.needed_attention = False
