"""Saves runs in one transaction, and divides them where that fails, so that one reply's trouble is its own.

A value that the database refuses, or a lock that another process holds, harms its own reply only. A database that is away
is reported, and nothing is lost: how far each run is saved is known, or the database is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from django.db import connections
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_locked
from streaming_chat.db.transactions import LOCK_SECONDS, write_transaction
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, LiveReply, ReplyEvent
from streaming_chat.protocol import endings

from . import tool_rows
from .batch import Batch, GivenUp, SavedEnding, begin_commit, ended_elsewhere, send_ending
from .completion import Completion, LeaseLost, finish_transaction, save_endings
from .progress import Progress, SavingState

# The largest weight that one transaction saves, unless one reply alone is heavier. After an outage, much may wait.
_MOST_IN_TRANSACTION = 8_000_000
# Longest wait in seconds for a lock, once it is known that one of the batch is held: 1,000 replies are divided in 1 s.
_SHORT_WAIT_SECONDS = 0.1
# If more replies than this cannot be saved, each by itself, the trouble is the database's and not theirs.
_MOST_ISOLATED = 8


@dataclass
class SaveResult:
    """What became of some runs.

    ended: their ending is saved. postponed: they could not be saved now, each by itself. cause: why, if it was not a lock.
    outage: why none is saved.
    """

    ended: list[Progress] = field(default_factory=list)
    postponed: list[Progress] = field(default_factory=list)
    cause: Exception | None = None
    outage: Exception | None = None


class Saver:
    """Saves runs under the leases of one worker. Used by one thread at a time."""

    def __init__(self, worker: str) -> None:
        self.worker = worker

    def save(self, runs: Sequence[Progress], *, divide: bool = False) -> SaveResult:
        """Save what these runs have, in one transaction, in several if they are too heavy for one, or, where that fails,
        in halves.

        divide: also where the database seems to be away: it has answered, and one reply must not hold up all.
        """
        result = SaveResult()
        shared = _by_weight([progress for progress in runs if not progress.is_isolated])
        # The last is the first to be saved.
        todo = [*([progress] for progress in runs if progress.is_isolated), *shared]
        while todo and result.outage is None:
            group = todo.pop()
            lock_seconds = LOCK_SECONDS if any(group is one for one in shared) else _SHORT_WAIT_SECONDS
            todo += self._save_group(group, result, divide, lock_seconds)
        if result.postponed and len(result.postponed) == len(runs):
            result.outage = result.cause
        return result

    def _save_group(
        self, group: list[Progress], result: SaveResult, divide: bool, lock_seconds: float
    ) -> list[list[Progress]]:
        """Save some runs; return what to save next: nothing, or the same runs in smaller groups."""
        try:
            result.ended += self._commit(group, lock_seconds)
        except GivenUp:
            rest = [progress for progress in group if not progress.is_final]
            return [rest] if rest else []
        except Exception as error:  # noqa: BLE001  (a value may be refused by any class; the log has it)
            return self._divide(group, error, result, divide)
        for progress in group:
            progress.is_isolated = False
        return []

    def _divide(
        self, group: list[Progress], error: Exception, result: SaveResult, divide: bool
    ) -> list[list[Progress]]:
        """Find out whose trouble the error is: the database's, or that of one run; return what to save next."""
        is_alone = len(group) == 1
        if _is_outage(error) and not divide and not (is_alone and group[0].is_isolated):
            result.outage = error
        elif not is_alone:
            _close_broken_connection(error)
            return [group[: len(group) // 2], group[len(group) // 2 :]]
        elif is_away(error):
            _close_broken_connection(error)
            self._isolate(group[0], result, error)
        else:
            self._end_refused_safely(group[0], result, error)
        return []

    def _commit(self, group: Sequence[Progress], lock_seconds: float) -> list[Progress]:
        using = live_database()

        def write() -> Batch:
            # It is called again after a deadlock.
            _reopen(group)
            batch = Batch(group, self.worker, using)
            batch.write()
            return batch

        try:
            with _reopened_if_it_fails(group):
                return write_transaction(write, using=using, lock_seconds=lock_seconds).finish()
        except LeaseLost:
            if not self._note_lost_leases(group):
                raise
        return self._commit(group, lock_seconds)

    def _note_lost_leases(self, group: Iterable[Progress]) -> bool:
        """Find out which of these have lost their leases; return whether there are more than were known."""
        ended = [progress for progress in group if progress.run.outcome and not progress.has_lost_lease]
        lives = LiveReply.objects.using(live_database()).filter(worker=self.worker)
        held = set(lives.filter(pk__in=[progress.message_id for progress in ended]).values_list("pk", flat=True))
        for progress in ended:
            progress.has_lost_lease = progress.message_id not in held
        return len(held) < len(ended)

    def _isolate(self, progress: Progress, result: SaveResult, error: Exception) -> None:
        """Save a run by itself from now on; if it is one of many, it is not its own fault."""
        if not progress.is_isolated:
            logger.warning(
                "Reply %s cannot be saved now; it is tried by itself: %s", progress.message_id, describe(error)
            )
        progress.is_isolated = True
        result.postponed.append(progress)
        if not is_locked(error):
            result.cause = error
        if len(result.postponed) > _MOST_ISOLATED:
            for other in result.postponed:
                other.is_isolated = False
            result.outage = error

    def _end_refused_safely(self, progress: Progress, result: SaveResult, error: Exception) -> None:
        logger.error("Reply %s could not be saved: %s", progress.message_id, describe(error))
        try:
            if self._end_refused(progress):
                result.ended.append(progress)
        except Exception as again:  # noqa: BLE001  (as in _save_group)
            if _is_outage(again):
                result.outage = again
            else:
                self._isolate(progress, result, again)

    def _end_refused(self, progress: Progress) -> bool:
        """End a reply whose text the database refuses, with what it accepted before; False if it was given up."""
        using = live_database()
        write = partial(self._write_refused, progress, using)
        try:
            with _reopened_if_it_fails([progress]):
                ending = write_transaction(write, using=using, lock_seconds=_SHORT_WAIT_SECONDS)
        except GivenUp:
            return False
        progress.run.request_stop("user", None)
        send_ending(progress, ending)
        return True

    def _write_refused(self, progress: Progress, using: str) -> SavedEnding:
        _reopen([progress])
        run = progress.run
        Conversation.objects.using(using).filter(pk=run.conversation_id).update(last_activity=Now())
        # The lock under which its events are written: an earlier commit may still be in flight.
        mine = LiveReply.objects.using(using).filter(pk=run.message_id, worker=self.worker)
        if mine.update(expires_at=LiveReply.lease()):
            saved = self._save_accepted(progress, using)
        else:
            saved = ended_elsewhere(progress, using)
        begin_commit([progress])
        return saved

    def _save_accepted(self, progress: Progress, using: str) -> SavedEnding:
        """End a reply with the events that are saved."""
        run = progress.run
        accepted = ReplyEvent.objects.using(using).stream(run.message_id)
        ending = endings.broken("not_saved", received=bool(accepted))
        accepted += tool_rows.closing(run.message_id, accepted, using, is_expired=False)
        completion = Completion(run.message_id, run.conversation_id, self.worker, ending, accepted)
        finish_transaction(save_endings([completion], using), using)
        return SavedEnding(completion.payload, completion.end_position, is_ours=True)


def _by_weight(runs: Iterable[Progress]) -> list[list[Progress]]:
    """Return these in groups, none heavier than what one transaction saves."""
    groups: list[list[Progress]] = []
    room = 0
    for progress in runs:
        heavy = progress.to_save
        if not groups or heavy > room:
            groups.append([])
            room = _MOST_IN_TRANSACTION
        groups[-1].append(progress)
        room -= heavy
    return groups


@contextmanager
def _reopened_if_it_fails(runs: Sequence[Progress]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _reopen(runs)
        raise


def _reopen(runs: Sequence[Progress]) -> None:
    """Note that no commit of these runs is in flight."""
    for progress in runs:
        progress.move(SavingState.OPEN)


def _is_outage(error: Exception) -> bool:
    return is_away(error) and not is_locked(error)


def _close_broken_connection(error: Exception) -> None:
    """Close a connection that may be broken, so that the next statement opens another."""
    connection = connections[live_database()]
    if _is_outage(error) and not connection.in_atomic_block:
        connection.close()
