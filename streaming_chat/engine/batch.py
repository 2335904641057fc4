"""Saves what runs have received, and each ending exactly once: one transaction for all, divided where it fails.

A value that the database refuses, or a lock that another process holds, harms its own reply only. A database that is away
is reported, and nothing is lost: how far each run is saved is known, or asked for.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from django.db import connections, transaction
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, Subquery
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_conflict, is_locked
from streaming_chat.db.locks import bounded_lock_wait
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent
from streaming_chat.notifiers import get_notifier
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event
from streaming_chat.quotas import Reconciliation

from .completion import announce_end, end_reply, reconcile_quota

# How long a lock is waited for once it is known that one of the batch is held: 1,000 replies are divided in 1 s.
_SHORT_WAIT_SECONDS = 0.1
# A deadlock is retried at once so many times.
_CONFLICTS = 5
# More replies that cannot be saved each by itself are not their own trouble, but the database's.
_MOST_ASIDE = 8


class Saved(Protocol):
    """A run, as the writer sees it. Attributes are read in the writer's thread, methods only hand over to the run's."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    outcome: Ending | None
    is_deserted: bool
    events: list[Event]
    # Set once its readers have been told of the ending.
    ended: threading.Event

    @property
    def position(self) -> int:
        """Units received so far."""

    @property
    def is_orphaned(self) -> bool:
        """Whether its loop was closed under it, without a word to it."""

    def columns(self) -> dict[str, Any]:
        """Return the further columns of its message, once there is an outcome."""

    def request_stop(self, by: str, position: int | None) -> None:
        """End it: another process said so, or nobody follows it."""

    def refuse(self) -> None:
        """End it as not saved: there is no memory for what waits."""

    def shut(self) -> None:
        """End it as interrupted: the process ends, or its loop has."""

    def dismiss(self) -> None:
        """Forget it: its ending waits in a file, and its readers are to come back for it."""

    def saved(self, payload: dict[str, Any], end_position: int) -> None:
        """Its ending is saved, by whomever; this is what its readers are to be told."""


class Held(NamedTuple):
    """What the row of a reply says that is still this worker's. is_followed: in another process, too."""

    stop: str | None
    stop_position: int | None
    is_followed: bool


class Batch:
    """One look at one run: what it has that is not saved yet."""

    __slots__ = ("ending", "events", "position", "run", "upto")

    def __init__(self, run: Saved, index: int, position: int) -> None:
        self.run = run
        # The outcome before the events: once it is there, all of them are.
        self.ending = run.outcome
        self.upto = len(run.events)
        self.begin_at(index, position)

    def begin_at(self, index: int, position: int) -> None:
        """Leave out what is saved before."""
        self.events = list(events.merge(self.run.events[index : self.upto]))
        self.position = position

    @property
    def next_mark(self) -> tuple[int, int]:
        """Index and position of what comes after it."""
        return self.upto, self.position + events.length(self.events)

    def rows(self) -> Iterable[ReplyEvent]:
        """Yield the rows to insert."""
        position = self.position
        for event in self.events:
            yield ReplyEvent(message_id=self.run.message_id, position=position, kind=event.kind, payload=event.payload)
            position += event.size

    def received(self) -> list[Event]:
        """Return all events of the run without start and ending, merged."""
        return list(events.merge(event for event in self.run.events[1 : self.upto]))


@dataclass
class Saving:
    """What became of some runs.

    done: their ending is saved. waiting: they are not saved now, by themselves. trouble: why, where it was not a lock.
    outage: why none is saved.
    """

    done: list[Saved] = field(default_factory=list)
    waiting: list[Saved] = field(default_factory=list)
    trouble: Exception | None = None
    outage: Exception | None = None


class _GivenUp(Exception):
    """The endings of some of the batch were given up while they were being written."""

    def __init__(self, message_ids: Collection[uuid.UUID]) -> None:
        super().__init__()
        self.message_ids = message_ids


class Ledger:
    """How much of each run is saved, and the saving itself; used by one thread at a time.

    seal: called before each commit with the replies whose endings are in it; returns those that have been given up
    meanwhile, and none of the others is from then on. take: asked after it, of each, whether its readers may be told.
    """

    def __init__(
        self,
        worker: str,
        *,
        seal: Callable[[Collection[uuid.UUID]], Collection[uuid.UUID]] = lambda _ids: (),
        take: Callable[[Saved], bool] = lambda _run: True,
    ) -> None:
        self.worker = worker
        self._seal = seal
        self._take = take
        # Message -> index of the first event that is not saved, and its position.
        self._marks: dict[uuid.UUID, tuple[int, int]] = {}
        # Messages whose last commit may have happened, or may yet: its answer did not come.
        self._unsure: set[uuid.UUID] = set()
        # Messages that could not be saved by themselves; they do not hold up the others.
        self._aside: set[uuid.UUID] = set()
        # Message -> when its claim was renewed, by this process's clock.
        self._renewed: dict[uuid.UUID, float] = {}
        # Messages that were followed in another process at their last flush.
        self._followed: set[uuid.UUID] = set()

    def save(self, runs: Sequence[Saved], *, divide: bool = False) -> Saving:
        """Save what these runs have, in one transaction or, where that fails, in halves.

        divide: also where the database seems to be away: it has answered, and one reply must not hold up all.
        """
        saving = Saving()
        shared = [run for run in runs if run.message_id not in self._aside]
        # The last is the first to be saved.
        todo = [[run] for run in runs if run.message_id in self._aside]
        if shared:
            todo.append(shared)
        while todo and saving.outage is None:
            some = todo.pop()
            todo += self._try(some, saving, divide=divide, patient=some is shared)
        if saving.waiting and len(saving.waiting) == len(runs):
            saving.outage = saving.trouble
        return saving

    def forget(self, run: Saved) -> None:
        """Drop what is known of a run. From any thread."""
        self._marks.pop(run.message_id, None)
        self._unsure.discard(run.message_id)
        self._aside.discard(run.message_id)
        self._renewed.pop(run.message_id, None)
        if run.message_id in self._followed:
            self._followed.discard(run.message_id)
            get_notifier().stop_publishing(run.message_id)

    def unsaved(self, run: Saved) -> int:
        """Return how many units of a run are not known to be saved. From any thread."""
        return run.position - self._marks.get(run.message_id, (1, 1))[1]

    def _try(self, runs: list[Saved], saving: Saving, *, divide: bool, patient: bool) -> list[list[Saved]]:
        """Save some; return what is to be tried next: nothing, or the same in halves."""
        try:
            saving.done += self._commit_beside_others(runs, patient=patient)
        except _GivenUp as given_up:
            for run in runs:
                if run.message_id in given_up.message_ids:
                    self.forget(run)
            rest = [run for run in runs if run.message_id not in given_up.message_ids]
            return [rest] if rest else []
        except Exception as error:  # noqa: BLE001  (a value may be refused by any class; the log has it)
            is_alone = len(runs) == 1
            if is_away(error) and not is_locked(error) and not divide and not (is_alone and self._is_aside(runs[0])):
                saving.outage = error
            elif not is_alone:
                _let_go(error)
                return [runs[: len(runs) // 2], runs[len(runs) // 2 :]]
            elif is_away(error):
                _let_go(error)
                self._set_aside(runs[0], saving, error)
            else:
                self._refuse_safely(runs[0], saving, error)
            return []
        for run in runs:
            self._aside.discard(run.message_id)
        return []

    def _is_aside(self, run: Saved) -> bool:
        return run.message_id in self._aside

    def _set_aside(self, run: Saved, saving: Saving, error: Exception) -> None:
        """Let a reply wait by itself; if it is one of many, it is not its own fault."""
        if run.message_id not in self._aside:
            logger.warning("Reply %s waits to be saved by itself: %s", run.message_id, describe(error))
        self._aside.add(run.message_id)
        saving.waiting.append(run)
        if not is_locked(error):
            saving.trouble = error
        if len(saving.waiting) > _MOST_ASIDE:
            self._aside.clear()
            saving.outage = error

    def _refuse_safely(self, run: Saved, saving: Saving, error: Exception) -> None:
        logger.error("Reply %s could not be saved: %s", run.message_id, describe(error))
        try:
            saving.done += self._refuse(run)
        except Exception as again:  # noqa: BLE001  (as in _try)
            if is_away(again) and not is_locked(again):
                saving.outage = again
            else:
                self._set_aside(run, saving, again)

    def _commit_beside_others(self, runs: Sequence[Saved], *, patient: bool) -> list[Saved]:
        for _time in range(_CONFLICTS):
            try:
                return self._commit(runs, patient=patient)
            except Exception as error:
                if not is_conflict(error):
                    raise
        return self._commit(runs, patient=patient)

    def _commit(self, runs: Sequence[Saved], *, patient: bool) -> list[Saved]:
        using = live_database()
        batches = [Batch(run, *self._marks.get(run.message_id, (1, 1))) for run in runs]
        marks = {batch.run.message_id: batch.next_mark for batch in batches}
        now = time.monotonic()
        due = [batch.run.message_id for batch in batches if not batch.ending and self._is_due(batch, now)]
        wait = bounded_lock_wait(using) if patient else bounded_lock_wait(using, _SHORT_WAIT_SECONDS)
        with transaction.atomic(using=using), wait:
            ended, stops = self._write(batches, due, using)
            if given_up := self._seal(ended.keys()):
                raise _GivenUp(given_up)
            # Until the answer is here.
            self._unsure.update(marks)
        self._marks |= marks
        self._renewed |= dict.fromkeys(due, now)
        self._unsure.difference_update(marks)
        for run, by, cut in stops:
            run.request_stop(by, cut)
        done = [batch.run for batch in batches if batch.run.message_id in ended]
        for run in done:
            self._tell(run, *ended[run.message_id])
        return done

    def _make_sure(self, batches: Iterable[Batch], using: str) -> None:
        """Leave out what was saved by commits whose answer did not come.

        Only under the lock of the claim: such a commit may still be under way, and would have that lock.
        """
        asked = {batch.run.message_id: batch for batch in batches if batch.run.message_id in self._unsure}
        if not asked:
            return
        own = ReplyEvent.objects.using(using).filter(message_id=OuterRef("message_id"))
        last = own.order_by("-position").values("position")[:1]
        rows = ReplyEvent.objects.using(using).filter(message_id__in=asked, position=Subquery(last))
        for pk, position, kind, payload in rows.values_list("message_id", "position", "kind", "payload"):
            run = asked[pk].run
            saved_upto = position + Event(kind, payload).size
            index, at = self._marks.get(pk, (1, 1))
            while at < saved_upto:
                at += run.events[index].size
                index += 1
            self._marks[pk] = (index, at)
            asked[pk].begin_at(index, at)

    def _is_due(self, batch: Batch, now: float) -> bool:
        """Return whether this claim is to be renewed, which is also the lock of who writes for it.

        Not at every flush: of 1,000 quiet replies that was three quarters of all WAL.
        """
        pk = batch.run.message_id
        if batch.events or batch.run.is_deserted or pk in self._unsure:
            return True
        return now - self._renewed.get(pk, -math.inf) >= conf.STREAMING_CHAT_LEASE_SECONDS / 3

    def _write(
        self, batches: Sequence[Batch], due: Sequence[uuid.UUID], using: str
    ) -> tuple[dict[uuid.UUID, tuple[dict[str, Any], int, bool]], list[tuple[Saved, str, int | None]]]:
        """Write one transaction; return what to tell the runs after its commit. due: whose claims to renew."""
        ending = {batch: batch.ending for batch in batches if batch.ending}
        if ending:
            conversations = sorted(batch.run.conversation_id for batch in ending)
            Conversation.objects.using(using).filter(pk__in=conversations).update(last_activity=Now())
        held = self._hold([batch.run for batch in batches if not batch.ending], due, using)
        self._make_sure([batch for batch in batches if batch.run.message_id in held], using)
        self._feed_followed(batches, held)
        ReplyEvent.objects.using(using).bulk_create(
            row for batch in batches if batch.run.message_id in held for row in batch.rows()
        )
        ended: dict[uuid.UUID, tuple[dict[str, Any], int, bool]] = {}
        stops: list[tuple[Saved, str, int | None]] = []
        reconciliations: list[Reconciliation] = []
        for batch in batches:
            run = batch.run
            if batch in ending:
                ended[run.message_id] = self._end(batch, ending[batch], reconciliations, using)
            elif (live := held.get(run.message_id)) is None:
                ended[run.message_id] = self._ended_elsewhere(run, using)
            elif live.stop:
                stops.append((run, live.stop, live.stop_position))
        ids = [batch.run.message_id for batch in batches if batch.events or batch.ending]
        if news := [pk for pk in ids if pk in ended or pk in self._followed]:
            get_notifier().notify_on_commit(using, news)
        reconcile_quota(reconciliations, using)
        return ended, stops

    def _feed_followed(self, batches: Sequence[Batch], held: dict[uuid.UUID, Held]) -> None:
        """Carry the events of replies that are followed in other processes, beside saving them."""
        for batch in batches:
            run = batch.run
            live = held.get(run.message_id)
            if live is None:
                continue
            if live.is_followed:
                self._followed.add(run.message_id)
                get_notifier().publish(run.message_id, run.events)
            elif run.message_id in self._followed:
                self._followed.discard(run.message_id)
                get_notifier().stop_publishing(run.message_id)

    def _hold(self, runs: Sequence[Saved], due: Sequence[uuid.UUID], using: str) -> dict[uuid.UUID, Held]:
        """Renew the claims that are due, and return what the rows of those runs say that are still ours."""
        if not runs:
            return {}
        ids = [run.message_id for run in runs]
        mine = LiveReply.objects.using(using).filter(pk__in=ids, worker=self.worker)
        if due:
            mine.filter(pk__in=due).update(expires_at=LiveReply.lease())
        if deserted := [run.message_id for run in runs if run.is_deserted]:
            unfollowed = Q(followed_until=None) | Q(followed_until__lt=Now())
            mine.filter(unfollowed, pk__in=deserted).request_stop("disconnect")
        is_followed = ExpressionWrapper(Q(followed_until__gt=Now()), BooleanField())
        # Not as models: of 5,000 live replies these took 70 ms of CPU, twice a second, and this takes 30.
        rows = mine.values_list("pk", "stop", "stop_position", is_followed)
        return {pk: Held(*said) for pk, *said in rows}

    def _end(
        self, batch: Batch, ending: Ending, reconciliations: list[Reconciliation], using: str
    ) -> tuple[dict[str, Any], int, bool]:
        run, received = batch.run, batch.received()
        told = end_reply(
            run.message_id,
            run.conversation_id,
            ending,
            received,
            using=using,
            worker=self.worker,
            reconciliations=reconciliations,
            **run.columns(),
        )
        return (*told, True) if told else self._ended_elsewhere(run, using)

    def _ended_elsewhere(self, run: Saved, using: str) -> tuple[dict[str, Any], int, bool]:
        """Return the ending of a reply that is not ours any more; whether it was we who ended it, unheard."""
        message = Message.objects.using(using).filter(pk=run.message_id).first()
        if message is None or message.is_live:
            logger.warning("Reply %s was deleted, or is written by another worker.", run.message_id)
            return endings.payload(Ending(endings.INTERRUPTED, "not_saved", "not_saved"), "", None), 0, False
        is_ours = run.outcome is not None and is_same(message.ending, run.outcome)
        if not is_ours:
            logger.warning("Reply %s was settled elsewhere.", run.message_id)
        return message.end_payload(), message.end_position, is_ours

    def _refuse(self, run: Saved) -> list[Saved]:
        """End a reply whose text the database refuses, with what it accepted before."""
        using = live_database()
        with transaction.atomic(using=using), bounded_lock_wait(using, _SHORT_WAIT_SECONDS):
            Conversation.objects.using(using).filter(pk=run.conversation_id).update(last_activity=Now())
            told = None
            held = LiveReply.objects.using(using).filter(pk=run.message_id, worker=self.worker)
            if held.update(expires_at=LiveReply.lease()):
                accepted = ReplyEvent.objects.using(using).stream(run.message_id)
                ending = endings.broken("not_saved", received=bool(accepted))
                told = end_reply(run.message_id, run.conversation_id, ending, accepted, using=using)
                get_notifier().notify_on_commit(using, [run.message_id])
            payload = (*told, True) if told else self._ended_elsewhere(run, using)
            if self._seal({run.message_id}):
                return []
        run.request_stop("user", None)
        self._tell(run, *payload)
        return [run]

    def _tell(self, run: Saved, payload: dict[str, Any], end_position: int, is_ours: bool) -> None:
        self.forget(run)
        if not self._take(run):
            return
        run.saved(payload, end_position)
        if is_ours:
            announce_end(run.message_id, run.conversation_id, payload["status"], payload["end_reason"])


def is_same(one: Ending, other: Ending) -> bool:
    """Return whether these are one ending; a cut beyond the text is saved as none."""
    return (one.status, one.end_reason, one.error_code, one.ref) == (
        other.status,
        other.end_reason,
        other.error_code,
        other.ref,
    )


def _let_go(error: Exception) -> None:
    """Close a connection that may be broken, so that the next statement opens another."""
    connection = connections[live_database()]
    if is_away(error) and not is_locked(error) and not connection.in_atomic_block:
        connection.close()
