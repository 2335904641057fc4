"""Reviewing conversations: who takes one, their verdicts and notes, and when a review is done.

Every change is a transaction that begins with a write to the conversation, which locks it on both databases. The review is
read after it, so the second of two simultaneous reviewers sees what the first one did.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DatabaseError, OperationalError, connections
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_locked
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, Message, Review, ReviewState, Verdict

from . import queues

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


@dataclass(frozen=True)
class VerdictChange:
    """What a reviewer changes of a verdict; None leaves it as it is. A verdict without value and labels is deleted.

    Raises ValueError for a value or labels that do not exist.
    """

    value: str | None = None
    labels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.value and self.value not in Verdict.Value.values:
            raise ValueError(f"verdict must be one of {', '.join(Verdict.Value.values)}, got {self.value!r}.")
        unknown = set(self.labels or ()) - set(conf.STREAMING_CHAT_REVIEW_LABELS)
        if unknown:
            raise ValueError(f"labels must be in STREAMING_CHAT_REVIEW_LABELS, got {sorted(unknown)}.")


# By message; None is the conversation as a whole.
VerdictChanges = Mapping[uuid.UUID | None, VerdictChange]


def take_next(queue: str, by: Any, *, leaving: uuid.UUID | None = None) -> uuid.UUID | None:
    """Take the first conversation of a queue for a reviewer and return its id; None at the end of the queue. Blocking.

    leaving: the conversation that the reviewer comes from, which is skipped. Two reviewers never get the same one.
    """
    release_expired()
    skipped = {leaving} if leaving else set()
    while ids := list(queues.unreviewed(queue).exclude(pk__in=skipped).values_list("pk", flat=True)[:_CANDIDATES]):
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
    free = _conversation(pk).filter(review_state=ReviewState.UNREVIEWED)
    if not free.update(review_state=ReviewState.IN_REVIEW):
        return False
    _assign(_review(pk), by)
    return True


def _has_taken(pk: uuid.UUID, by: Any) -> bool:
    return _conversation(pk).filter(review_state=ReviewState.IN_REVIEW, review__reviewer=by).exists()


def save(pk: uuid.UUID, by: Any, snapshot: Snapshot, notes: str | None, verdicts: VerdictChanges) -> None:
    """Save verdicts and notes, and take the conversation for the reviewer if nobody has it.

    notes: None if unchanged. Raises StaleReviewError if another reviewer changed the notes; the verdicts are saved, since
    they are each reviewer's own. Raises ValueError for messages of other conversations, Conversation.DoesNotExist.
    """
    save_verdicts(pk, by, verdicts)

    def write() -> None:
        _lock(pk)
        review = _review(pk)
        if notes is not None and notes != review.notes:
            _require_current(review, snapshot)
            review.notes = notes
            _save_change(review, by)
        _take_or_extend(pk, review, by)

    write_transaction(write)


def finish(pk: uuid.UUID, by: Any, snapshot: Snapshot, notes: str | None, verdicts: VerdictChanges) -> bool:
    """Save verdicts and notes, and mark the conversation as reviewed through the newest message of the snapshot.

    Returns False if something was added after the snapshot: the notes are saved, the review is not done.
    Raises as `save` does; StaleReviewError also if another reviewer has finished it in between.
    """
    save_verdicts(pk, by, verdicts)

    def write() -> bool:
        _lock(pk)
        review = _review(pk)
        _require_current(review, snapshot)
        if notes is not None:
            review.notes = notes
        is_done = _is_unchanged(pk, snapshot)
        if is_done:
            _mark_done(pk, review, by, snapshot)
        _save_change(review, by)
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
        version, last_activity, needs_attention = _conversation(pk).values_list(*columns).get()
        snapshot = Snapshot(version, last_activity, newest_message(pk), needs_attention)
        return finish(pk, by, snapshot, None, {})
    except (StaleReviewError, Conversation.DoesNotExist):
        return False


def save_verdicts(pk: uuid.UUID, by: Any, verdicts: VerdictChanges) -> None:
    """Save one reviewer's verdicts on a conversation and its messages. Verdicts that are not named stay.

    Raises ValueError for messages of other conversations, Conversation.DoesNotExist.
    """
    if verdicts:
        write_transaction(lambda: _save_verdicts(pk, by, verdicts))


def _save_verdicts(pk: uuid.UUID, by: Any, verdicts: VerdictChanges) -> None:
    _lock(pk)
    messages = {message for message in verdicts if message}
    if messages and _messages(pk).filter(pk__in=messages).count() != len(messages):
        raise ValueError(f"verdicts must be on messages of conversation {pk}.")
    saved = Verdict.objects.using(live_database()).filter(conversation_id=pk, by=by)
    mine = {verdict.message_id: verdict for verdict in saved}
    for message, change in verdicts.items():
        _apply(change, mine.get(message) or Verdict(conversation_id=pk, message_id=message, by=by))


def _apply(change: VerdictChange, verdict: Verdict) -> None:
    using = live_database()
    value = verdict.value if change.value is None else change.value
    labels = verdict.labels if change.labels is None else list(change.labels)
    if (verdict.value, verdict.labels) == (value, labels):
        return
    verdict.value, verdict.labels, verdict.updated_at = value, labels, Now()
    if value or labels:
        verdict.save(using=using)
    elif verdict.pk:
        verdict.delete(using=using)


def newest_message(pk: uuid.UUID) -> uuid.UUID | None:
    """Return the newest message of a conversation, on any branch."""
    return _messages(pk).order_by("-created_at", "-pk").values_list("pk", flat=True).first()


def _conversation(pk: uuid.UUID) -> QuerySet[Conversation]:
    return Conversation.objects.using(live_database()).filter(pk=pk)


def _messages(pk: uuid.UUID) -> QuerySet[Message]:
    return Message.objects.using(live_database()).filter(conversation_id=pk)


def _lock(pk: uuid.UUID) -> None:
    """Lock a conversation until the end of the transaction. Raises Conversation.DoesNotExist if it was deleted."""
    if not _conversation(pk).update(review_state=F("review_state")):
        raise Conversation.DoesNotExist


def _review(pk: uuid.UUID) -> Review:
    """Return the review, or a new one. The caller has locked the conversation."""
    saved = Review.objects.using(live_database()).select_related("changed_by").filter(pk=pk).first()
    return saved or Review(conversation_id=pk)


def _require_current(review: Review, snapshot: Snapshot) -> None:
    if review.version != snapshot.version:
        raise StaleReviewError(review)


def _is_unchanged(pk: uuid.UUID, snapshot: Snapshot) -> bool:
    """Return whether nothing was added after the snapshot. The caller has locked the conversation."""
    # Compared here: SQLite compares times as text, where its clock writes a whole second as `.000` and Django as nothing.
    last_activity, needs_attention = _conversation(pk).values_list("last_activity", "needs_attention").get()
    return last_activity <= snapshot.last_activity and (snapshot.needs_attention or not needs_attention)


def _mark_done(pk: uuid.UUID, review: Review, by: Any, snapshot: Snapshot) -> None:
    _conversation(pk).update(review_state=ReviewState.DONE, needs_attention=False)
    review.done_by, review.done_at = by, Now()
    is_ours = snapshot.through and _messages(pk).filter(pk=snapshot.through).exists()
    review.through_id = snapshot.through if is_ours else None
    review.reviewer = review.taken_at = None


def _assign(review: Review, by: Any) -> None:
    review.reviewer, review.taken_at = by, Now()
    _save_change(review, by)


def _take_or_extend(pk: uuid.UUID, review: Review, by: Any) -> None:
    """Take an unreviewed conversation, or restart TAKE_TIMEOUT for the reviewer who has it. That is no new version."""
    if _conversation(pk).filter(review_state=ReviewState.UNREVIEWED).update(review_state=ReviewState.IN_REVIEW):
        _assign(review, by)
    elif review.reviewer_id == by.pk and review.taken_at:
        Review.objects.using(live_database()).filter(pk=pk).update(taken_at=Now())


def _save_change(review: Review, by: Any) -> None:
    review.version += 1
    review.changed_by = by
    review.save(using=live_database(), force_insert=review._state.adding)
