"""Reviewing conversations: who takes and releases one, their notes, and when a review is done.

Every change is a transaction that begins with a write to the conversation, which locks it on both databases. The review is
read after it, so the second of two simultaneous reviewers sees what the first one did.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DatabaseError, OperationalError, connections
from django.db.models import F
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_locked
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, Review, ReviewState

from . import queues
from .notes import change_notes
from .rows import conversation_rows, lock, message_rows, review_of, save_change
from .verdicts import VerdictChanges, save_verdicts

MAX_NOTES_CHARS = 20_000
_CANDIDATES = 20
_RELEASED_AT_ONCE = 1_000


class StaleReviewError(Exception):
    """Another reviewer has changed the review since it was read. review: as it is now."""

    def __init__(self, review: Review) -> None:
        super().__init__("the review has changed since it was read.")
        self.review = review


@dataclass(frozen=True)
class Snapshot:
    """What the reviewer's page showed. version: of the review. through: the newest message on any branch."""

    version: int
    last_activity: datetime
    through: uuid.UUID | None = None
    needs_attention: bool = False


def take_next(queue: str, by: Any, *, leaving: uuid.UUID | None = None) -> uuid.UUID | None:
    """Take the first conversation of a queue for a reviewer and return its id; None at the end of the queue. Blocking.

    leaving: the conversation that the reviewer comes from, which is skipped, like all that they released within
    TAKE_TIMEOUT. Two reviewers never get the same one.
    """
    release_expired()
    skipped = {leaving} if leaving else set()
    rows = queues.without_released(queues.unreviewed(queue), by)
    while ids := list(rows.exclude(pk__in=skipped).values_list("pk", flat=True)[:_CANDIDATES]):
        for pk in ids:
            if _take(pk, by):
                return pk
        skipped.update(ids)
    return None


def take(pk: uuid.UUID, by: Any) -> bool:
    """Take a conversation for a reviewer, who may have it already; False if another has it, or it is done."""
    release_expired()
    return _take(pk, by, or_has_it=True)


def release_expired() -> None:
    """Release conversations that were taken longer than TAKE_TIMEOUT ago. Blocking.

    Skips rows that another transaction has locked; the next call releases them. One query if there are none, else four.
    """
    ids = list(queues.expired().values_list("pk", flat=True)[:_RELEASED_AT_ONCE])
    if not ids:
        return
    try:
        write_transaction(partial(_release, ids))
    except DatabaseError as error:
        # The caller only shows a list, which works without this.
        if not is_away(error):
            raise


def _release(ids: list[uuid.UUID]) -> None:
    # `expired` again, under the lock: another reviewer may have released and taken it in between.
    queues.expired().filter(pk__in=_lock_free_rows(ids)).update(review_state=ReviewState.UNREVIEWED)


def _lock_free_rows(ids: list[uuid.UUID]) -> list[uuid.UUID]:
    """Lock those of the conversations that nobody else has locked, and return them. Waiting for more could deadlock."""
    using = live_database()
    if not connections[using].features.has_select_for_update_skip_locked:
        # SQLite locks the whole database with the write that follows.
        return ids
    rows = Conversation.objects.using(using).filter(pk__in=ids).order_by("pk")
    return list(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))


def _take(pk: uuid.UUID, by: Any, *, or_has_it: bool = False) -> bool:
    try:
        return write_transaction(lambda: _assign_if_unreviewed(pk, by) or (or_has_it and _has_taken(pk, by)))
    except OperationalError as error:
        if not is_locked(error):
            raise
        # A paused process holds the row.
        return False


def _assign_if_unreviewed(pk: uuid.UUID, by: Any) -> bool:
    # The update is the lock, and makes sure that only one reviewer gets it.
    free = conversation_rows(pk).filter(review_state=ReviewState.UNREVIEWED)
    if not free.update(review_state=ReviewState.IN_REVIEW):
        return False
    _assign(review_of(pk), by)
    return True


def _has_taken(pk: uuid.UUID, by: Any) -> bool:
    return conversation_rows(pk).filter(review_state=ReviewState.IN_REVIEW, review__reviewer=by).exists()


def save(pk: uuid.UUID, by: Any, snapshot: Snapshot, notes: str | None, verdicts: VerdictChanges) -> None:
    """Save verdicts and notes, and take the conversation for the reviewer if nobody has it.

    notes: None if unchanged. Raises StaleReviewError if another reviewer changed the notes; the verdicts are saved, since
    they are each reviewer's own. Raises ValueError for messages of other conversations, Conversation.DoesNotExist.
    """
    save_verdicts(pk, by, verdicts)

    def write() -> None:
        lock(pk)
        review = review_of(pk)
        _save_notes(review, by, snapshot, notes)
        _take_or_extend(pk, review, by)

    write_transaction(write)


def leave(pk: uuid.UUID, by: Any, snapshot: Snapshot, notes: str | None, verdicts: VerdictChanges) -> bool:
    """Save verdicts and notes, and release the conversation; False if the reviewer does not have it. Raises as `save` does.

    Others can take it at once. `take_next` returns it to this reviewer again after TAKE_TIMEOUT.
    """
    save_verdicts(pk, by, verdicts)

    def write() -> bool:
        lock(pk)
        review = review_of(pk)
        _save_notes(review, by, snapshot, notes)
        return _release_claim(review, by, taken_at=Now())

    return write_transaction(write)


def release(pk: uuid.UUID, by: Any) -> None:
    """Release a conversation if the reviewer has it, as if they had never taken it."""

    def write() -> None:
        # The update is the lock.
        if conversation_rows(pk).update(review_state=F("review_state")):
            _release_claim(review_of(pk), by, taken_at=None, reviewer=None)

    write_transaction(write)


def _release_claim(review: Review, by: Any, **columns: Any) -> bool:
    """Release a conversation if this reviewer has it. columns: to set in the review, which is no new version of it."""
    if review.reviewer_id != by.pk:
        return False
    taken = conversation_rows(review.pk).filter(review_state=ReviewState.IN_REVIEW)
    Review.objects.using(live_database()).filter(pk=review.pk).update(**columns)
    return bool(taken.update(review_state=ReviewState.UNREVIEWED))


def finish(pk: uuid.UUID, by: Any, snapshot: Snapshot, notes: str | None, verdicts: VerdictChanges) -> bool:
    """Save verdicts and notes, and mark the conversation as reviewed through the newest message of the snapshot.

    Returns False if something was added after the snapshot: the notes are saved, the review is not done.
    Raises as `save` does; StaleReviewError also if another reviewer has finished it in between.
    """
    save_verdicts(pk, by, verdicts)

    def write() -> bool:
        lock(pk)
        review = review_of(pk)
        _require_current(review, snapshot)
        if notes is not None:
            change_notes(review, by, notes)
        conversation = conversation_rows(pk).only("last_activity", "needs_attention", "review_state").get()
        is_done = _is_unchanged(conversation, snapshot)
        if is_done:
            _mark_done(conversation, review, by, snapshot)
        save_change(review, by)
        if not is_done:
            _take_or_extend(pk, review, by)
        return is_done

    return write_transaction(write)


def finish_as_is(pk: uuid.UUID, by: Any) -> bool:
    """Mark a conversation as reviewed as it is now; False if another reviewer has it, or it is done."""
    if not take(pk, by):
        return False
    columns = ("review__version", "last_activity", "needs_attention")
    try:
        version, last_activity, needs_attention = conversation_rows(pk).values_list(*columns).get()
        snapshot = Snapshot(version, last_activity, newest_message(pk), needs_attention)
        return finish(pk, by, snapshot, None, {})
    except (StaleReviewError, Conversation.DoesNotExist):
        return False


def newest_message(pk: uuid.UUID) -> uuid.UUID | None:
    """Return the newest message of a conversation, on any branch."""
    return message_rows(pk).order_by("-created_at", "-pk").values_list("pk", flat=True).first()


def _require_current(review: Review, snapshot: Snapshot) -> None:
    if review.version != snapshot.version:
        raise StaleReviewError(review)


def _is_unchanged(conversation: Conversation, snapshot: Snapshot) -> bool:
    """Return whether nothing was added after the snapshot. The caller has locked the conversation."""
    # Compared here: SQLite compares times as text, where its clock writes a whole second as `.000` and Django as nothing.
    is_seen = conversation.last_activity <= snapshot.last_activity
    return is_seen and (snapshot.needs_attention or not conversation.needs_attention)


def _mark_done(conversation: Conversation, review: Review, by: Any, snapshot: Snapshot) -> None:
    pk = conversation.pk
    if conversation.review_state != ReviewState.DONE:
        review.needed_attention = conversation.needs_attention
    conversation_rows(pk).update(review_state=ReviewState.DONE, needs_attention=False)
    review.done_by, review.done_at = by, Now()
    is_ours = snapshot.through and message_rows(pk).filter(pk=snapshot.through).exists()
    review.through_id = snapshot.through if is_ours else None
    review.reviewer = review.taken_at = None


def _save_notes(review: Review, by: Any, snapshot: Snapshot, notes: str | None) -> None:
    if notes is not None and notes != review.notes:
        _require_current(review, snapshot)
        change_notes(review, by, notes)
        save_change(review, by)


def _assign(review: Review, by: Any) -> None:
    review.reviewer, review.taken_at = by, Now()
    save_change(review, by)


def _take_or_extend(pk: uuid.UUID, review: Review, by: Any) -> None:
    """Take an unreviewed conversation, or restart TAKE_TIMEOUT for the reviewer who has it. That is no new version."""
    if conversation_rows(pk).filter(review_state=ReviewState.UNREVIEWED).update(review_state=ReviewState.IN_REVIEW):
        _assign(review, by)
    elif review.reviewer_id == by.pk and review.taken_at:
        Review.objects.using(live_database()).filter(pk=pk).update(taken_at=Now())
