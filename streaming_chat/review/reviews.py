"""Judging conversations: who takes which, what is said of it, and how far it was reviewed.

Every change is one transaction that begins with a write to the conversation, its lock on both databases, after which the
review is read: of two reviewers at the same moment the second sees what the first has done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.db import DatabaseError, OperationalError, connections
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_locked
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, Mark, Message, Review, ReviewState, Verdict

from . import queues

T = TypeVar("T")

MAX_NOTES_CHARS = 20_000
_AT_ONCE = 20
_AT_ONCE_RELEASED = 1_000


class Stale(Exception):
    """Another reviewer has changed the review since it was read; `review` is what it is now."""

    def __init__(self, review: Review) -> None:
        super().__init__("the review has changed since it was read.")
        self.review = review


@dataclass(frozen=True)
class Seen:
    """What a reviewer had before them: the version of the review, the last activity, the newest message, the flag."""

    version: int
    activity: datetime
    through: uuid.UUID | None = None
    needs_attention: bool = False


@dataclass(frozen=True)
class Opinion:
    """A verdict, "" for none, and labels, each None where it stays as it was; with neither left the mark goes.

    Raises ValueError for verdicts and labels that there are not.
    """

    verdict: str | None = None
    labels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.verdict and self.verdict not in Verdict.values:
            raise ValueError(f"verdict was wanted to be one of {', '.join(Verdict.values)}, got {self.verdict!r}.")
        unknown = set(self.labels or ()) - set(conf.STREAMING_CHAT_REVIEW_LABELS)
        if unknown:
            raise ValueError(f"labels were wanted to be of STREAMING_CHAT_REVIEW_LABELS, got {sorted(unknown)}.")


# By message, None being the conversation as a whole.
Opinions = Mapping[uuid.UUID | None, Opinion]


def claim_next(queue: str, by: Any, *, besides: uuid.UUID | None = None) -> uuid.UUID | None:
    """Take the first conversation of a queue for a reviewer, and return it; None at the end of the queue.

    besides: the one they are leaving, which may still be first. Two reviewers never get the same. Blocking.
    """
    release_expired()
    lost = {besides} if besides else set()
    while candidates := list(queues.waiting(queue).exclude(pk__in=lost).values_list("pk", flat=True)[:_AT_ONCE]):
        for pk in candidates:
            if _claim(pk, by):
                return pk
        lost.update(candidates)
    return None


def claim(pk: uuid.UUID, by: Any) -> bool:
    """Take one for a reviewer; False when another has it, or it is done."""
    release_expired()
    return _claim(pk, by, mine=True)


def release_expired() -> None:
    """Free what was taken and not touched for too long; what somebody holds is left to whoever looks next. Blocking.

    One query where there is nothing, four where there is, however much.
    """
    if not (found := list(queues.expired().values_list("pk", flat=True)[:_AT_ONCE_RELEASED])):
        return
    try:
        write_transaction(partial(_release, found))
    except DatabaseError as error:
        # Lists are shown all the same.
        if not is_away(error):
            raise


def _release(pks: list[uuid.UUID]) -> None:
    # Asked again with the lock: another may have freed it, and taken it since.
    queues.expired().filter(pk__in=_not_held(pks)).update(review_state=ReviewState.UNREVIEWED)


def _not_held(pks: list[uuid.UUID]) -> list[uuid.UUID]:
    """Lock those that nobody else has locked, and return them: waiting while holding others could deadlock."""
    using = live_database()
    if not connections[using].features.has_select_for_update_skip_locked:
        # SQLite: its transaction begins with the write that follows.
        return pks
    rows = Conversation.objects.using(using).filter(pk__in=pks).order_by("pk")
    return list(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))


def _claim(pk: uuid.UUID, by: Any, *, mine: bool = False) -> bool:
    """Take an unreviewed one, or with `mine` one that they have already."""
    try:
        return write_transaction(partial(_take_if_free, pk, by)) or (mine and _is_with(pk, by))
    except OperationalError as error:
        if not is_locked(error):
            raise
        # A process that is paused holds it.
        return False


def _take_if_free(pk: uuid.UUID, by: Any) -> bool:
    free = _conversations(pk).filter(review_state=ReviewState.UNREVIEWED)
    # The lock, and what makes it theirs alone.
    if not free.update(review_state=ReviewState.IN_REVIEW):
        return False
    _take(_review(pk), by)
    return True


def save(pk: uuid.UUID, by: Any, seen: Seen, notes: str | None, opinions: Opinions) -> None:
    """Save what a reviewer says, and take the conversation for them where nobody has it.

    notes: None when they were not changed. Raises Stale, with nothing lost that is not another's to change: verdicts are
    each reviewer's own, and saved. Raises ValueError for messages of other conversations, Conversation.DoesNotExist.
    """
    judge(pk, by, opinions)
    _with_lock(pk, partial(_save, pk, by, seen, notes))


def _save(pk: uuid.UUID, by: Any, seen: Seen, notes: str | None) -> None:
    review = _review(pk)
    if notes is not None and notes != review.notes:
        _require_current(review, seen)
        review.notes = notes
        _change(review, by)
    _keep(pk, review, by)


def finish(pk: uuid.UUID, by: Any, seen: Seen, notes: str | None, opinions: Opinions) -> bool:
    """Save it, and that it was reviewed as far as was seen; False when something came since, which has to be seen first.

    Raises as `save` does, also Stale when another has done it in between.
    """
    judge(pk, by, opinions)
    return _with_lock(pk, partial(_finish, pk, by, seen, notes))


def _finish(pk: uuid.UUID, by: Any, seen: Seen, notes: str | None) -> bool:
    review = _review(pk)
    _require_current(review, seen)
    if notes is not None:
        review.notes = notes
    done = _is_as_seen(pk, seen)
    if done:
        _conversations(pk).update(review_state=ReviewState.DONE, needs_attention=False)
        review.done_by, review.done_at = by, Now()
        known = seen.through and _messages(pk).filter(pk=seen.through).exists()
        review.through_id = seen.through if known else None
        review.reviewer = review.claimed_at = None
    _change(review, by)
    if not done:
        _keep(pk, review, by)
    return done


def finish_as_is(pk: uuid.UUID, by: Any) -> bool:
    """Say that a conversation was reviewed as it is now; False when another is reviewing it, or it was done."""
    if not claim(pk, by):
        return False
    columns = ("review__version", "last_activity", "needs_attention")
    try:
        version, activity, needs_attention = _conversations(pk).values_list(*columns).get()
        return finish(pk, by, Seen(version, activity, newest(pk), needs_attention), None, {})
    except (Stale, Conversation.DoesNotExist):
        return False


def judge(pk: uuid.UUID, by: Any, opinions: Opinions) -> None:
    """Save one reviewer's verdicts on a conversation and its messages; what is not named stays.

    Raises ValueError for messages of other conversations.
    """
    if opinions:
        _with_lock(pk, partial(_judge, pk, by, opinions))


def _judge(pk: uuid.UUID, by: Any, opinions: Opinions) -> None:
    named = {message for message in opinions if message}
    if named and _messages(pk).filter(pk__in=named).count() != len(named):
        raise ValueError(f"messages of conversation {pk} were wanted.")
    marks = Mark.objects.using(live_database())
    mine = {mark.message_id: mark for mark in marks.filter(conversation_id=pk, by=by)}
    for message, opinion in opinions.items():
        mark = mine.get(message) or Mark(conversation_id=pk, message_id=message, by=by)
        _write(mark, opinion)


def newest(pk: uuid.UUID) -> uuid.UUID | None:
    """Return the newest message of a conversation, on whichever branch."""
    return _messages(pk).order_by("-created_at", "-pk").values_list("pk", flat=True).first()


def _write(mark: Mark, opinion: Opinion) -> None:
    using = live_database()
    verdict = mark.verdict if opinion.verdict is None else opinion.verdict
    labels = mark.labels if opinion.labels is None else list(opinion.labels)
    if (mark.verdict, mark.labels) == (verdict, labels):
        return
    mark.verdict, mark.labels, mark.updated_at = verdict, labels, Now()
    if verdict or labels:
        mark.save(using=using)
    elif mark.pk:
        mark.delete(using=using)


def _conversations(pk: uuid.UUID) -> QuerySet[Conversation]:
    return Conversation.objects.using(live_database()).filter(pk=pk)


def _messages(pk: uuid.UUID) -> QuerySet[Message]:
    return Message.objects.using(live_database()).filter(conversation_id=pk)


def _with_lock(pk: uuid.UUID, write: Callable[[], T]) -> T:
    """Call `write` while the conversation is locked, by a write: what it reads cannot change.

    Raises Conversation.DoesNotExist when it has been deleted.
    """

    def write_with_lock() -> T:
        if not _conversations(pk).update(review_state=F("review_state")):
            raise Conversation.DoesNotExist
        return write()

    return write_transaction(write_with_lock)


def _review(pk: uuid.UUID) -> Review:
    """Return the review as it is; call with the lock."""
    found = Review.objects.using(live_database()).select_related("changed_by").filter(pk=pk).first()
    return found or Review(conversation_id=pk)


def _is_with(pk: uuid.UUID, by: Any) -> bool:
    return _conversations(pk).filter(review_state=ReviewState.IN_REVIEW, review__reviewer=by).exists()


def _require_current(review: Review, seen: Seen) -> None:
    if review.version != seen.version:
        raise Stale(review)


def _is_as_seen(pk: uuid.UUID, seen: Seen) -> bool:
    """Return whether nothing was added since; call with the lock."""
    # Compared here: SQLite compares times as texts, and its own clock writes a whole second as `.000`, Django as nothing.
    activity, needs_attention = _conversations(pk).values_list("last_activity", "needs_attention").get()
    return activity <= seen.activity and (seen.needs_attention or not needs_attention)


def _take(review: Review, by: Any) -> None:
    review.reviewer, review.claimed_at = by, Now()
    _change(review, by)


def _keep(pk: uuid.UUID, review: Review, by: Any) -> None:
    """Take an unreviewed one, and let a claim of their own begin anew, which overwrites nothing: no new version."""
    if _conversations(pk).filter(review_state=ReviewState.UNREVIEWED).update(review_state=ReviewState.IN_REVIEW):
        _take(review, by)
    elif review.reviewer_id == by.pk and review.claimed_at:
        Review.objects.using(live_database()).filter(pk=pk).update(claimed_at=Now())


def _change(review: Review, by: Any) -> None:
    review.version += 1
    review.changed_by = by
    review.save(using=live_database(), force_insert=review._state.adding)
