"""One transaction that saves what several runs have received, and the endings of those that have ended.

100 streams cost two commits a second this way. What `write` does is undone if anything in it fails; saver.py tries again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    CharField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    UUIDField,
)
from django.db.models.functions import Now
from django.db.models.lookups import In

from streaming_chat.conf import conf
from streaming_chat.db.statements import Argument, Arguments, Query, Statement, insertion, update
from streaming_chat.logs import describe, logger
from streaming_chat.models import BlockedOwner, LiveReply, Message, ReplyEvent
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import STEP, Event

from . import tool_rows
from .completion import (
    Completion,
    Ended,
    announce_end,
    finish_transaction,
    is_same_ending,
    save_endings,
    save_provider_states,
)
from .progress import Progress, SavingState


class GivenUp(Exception):
    """The endings of some runs of the batch were given up while they were being written."""


class HeldLease(NamedTuple):
    """What the row of a reply says whose lease is still this worker's. is_followed: in another process, too.

    is_blocked: its owner must not chat any more.
    """

    stop: str | None
    stop_position: int | None
    is_followed: bool
    is_blocked: bool

    @property
    def stop_by(self) -> str:
        """Who has stopped the reply, "" for nobody. A block counts as a stop by the staff."""
        return self.stop or ("staff" if self.is_blocked else "")


class SavedEnding(NamedTuple):
    """What a run's readers are sent after the commit. is_ours: this process ended it, and sends the signal."""

    payload: dict[str, Any]
    end_position: int
    is_ours: bool


# In place of an ending: the reply waits for an answer.
WAITING = SavedEnding({}, 0, is_ours=False)


class RunSlice:
    """One look at one run: what it has that is not saved yet.

    ending: its outcome, once all its events are here; they are saved with it. events: the rows to save of a run without one.
    is_waiting: the run is over, and its reply waits for an answer. starts: how many of its tool calls are to run.
    """

    __slots__ = ("ending", "events", "is_waiting", "noted", "position", "progress", "run", "starts", "upto", "weight")

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.run = progress.run
        # Before the events: once there is an outcome, all events are there, and so are the calls that are to run.
        outcome = self.run.outcome
        self.is_waiting = outcome is not None and outcome.status == endings.WAITING
        self.ending = None if self.is_waiting else outcome
        self.noted = self.run.calls.noted if self.run.calls else 0
        self.starts = len(self.run.calls.starts) if self.run.calls else 0
        # A read that arrives just now may be counted one flush too early or too late.
        self.weight = self.run.weight
        self.upto = len(self.run.events)
        self.events: list[Event] = []
        if not self.ending:
            self.begin_at(progress.index, progress.position)

    def begin_at(self, index: int, position: int) -> None:
        """Leave out the events before this one."""
        self.events = list(events.merge(self.run.events[index : self.upto]))
        if self.is_waiting and self.run.calls and self.run.calls.approval:
            self.events.append(self.run.calls.approval)
        self.position = position

    def rows(self) -> Iterable[dict[str, Any]]:
        """Yield the columns of the rows to insert."""
        position = self.position
        for event in self.events:
            yield {
                "message_id": self.run.message_id,
                "position": position,
                "kind": event.kind,
                "payload": event.payload,
            }
            position += event.size

    @property
    def has_calls(self) -> bool:
        """Whether tool calls are to run, or are waited for."""
        return self.starts > self.progress.starts or self.is_waiting

    def save_calls(self, worker: str, using: str) -> None:
        """Save what there is of tool calls, with the events."""
        run, calls = self.run, self.run.calls
        if calls is None:
            return
        saved = run.events[: self.progress.index]
        tool_rows.save_events(run.message_id, self.events, sum(event.kind == STEP for event in saved), using)
        tool_rows.save_starts(run.message_id, calls.starts[self.progress.starts : self.starts], worker, using)
        if self.is_waiting:
            save_provider_states(run.message_id, run.provider_states, using)
            tool_rows.suspend(run.message_id, calls.waits, run.columns(), using)

    def completion(self, ending: Ending, worker: str) -> Completion:
        """Return the end of the reply, with all its events."""
        run = self.run
        return Completion(
            run.message_id,
            run.conversation_id,
            worker,
            ending,
            list(events.merge(run.events[1 : self.upto])),
            run.columns(),
            has_saved_events=self.progress.has_saved_events,
            provider_states=run.provider_states,
        )

    def is_lease_due(self, renewed_before: float) -> bool:
        """Return whether to renew its lease, which is also the lock under which its events are written.

        renewed_before: a quiet reply's lease is renewed if it was renewed before this monotonic time. Not at every flush:
        of 1,000 quiet replies that was three quarters of all WAL.
        """
        progress = self.progress
        is_quiet = not (self.events or self.run.is_unfollowed or progress.is_uncertain or self.has_calls)
        return not is_quiet or progress.lease_renewed_at <= renewed_before

    def mark_saved(self) -> None:
        """Note that the rows are committed."""
        self.progress.advance(self.upto, self.position + events.length(self.events), self.weight)
        self.progress.starts = self.starts
        self.progress.is_uncertain = False

    def confirm_calls(self) -> None:
        """Let the run go on that waits for its calls or their results to be committed."""
        if self.run.calls is not None:
            self.run.calls.confirm(self.noted)


def _leases() -> QuerySet[LiveReply]:
    """Return the rows of some replies whose leases are a worker's."""
    is_asked = In(F("message_id"), Arguments("message_ids", UUIDField()))
    return LiveReply.objects.filter(is_asked, worker=Argument("worker", CharField()))


@Statement
def _renew_leases() -> Query:
    return update(_leases(), expires_at=Now() + Argument("lease", DurationField()))


@Statement
def _held_leases() -> Query:
    is_followed = ExpressionWrapper(Q(followed_until__gt=Now()), BooleanField())
    # Here, and not where an owner is blocked: a reply that begins at this moment has no row yet that could be marked.
    is_blocked = Exists(BlockedOwner.objects.filter(pk=OuterRef("owner_key")))
    return _leases().values_list("pk", "stop", "stop_position", is_followed, is_blocked)


@Statement
def _insert_event() -> Query:
    fields = {field.attname: field for field in ReplyEvent._meta.concrete_fields if not field.primary_key}
    return insertion([ReplyEvent(**{name: Argument(name, field) for name, field in fields.items()})])


class Batch:
    """One attempt to save several runs: `write` in a transaction, then `finish` once it is committed.

    worker: whose leases they are. using: alias of the database.
    """

    def __init__(self, runs: Iterable[Progress], worker: str, using: str) -> None:
        self._worker = worker
        self._using = using
        self._slices = [RunSlice(progress) for progress in runs]
        self._ended: list[Ended] = []
        self._held: list[RunSlice] = []
        self._renewed: list[RunSlice] = []
        self._stops: list[tuple[RunSlice, HeldLease]] = []
        self._endings: dict[Progress, SavedEnding] = {}

    def write(self) -> None:
        """Write everything. Raises GivenUp, LeaseLost, and whatever the database raises."""
        tool_rows.lock_conversations(
            [part.run.conversation_id for part in self._slices if part.is_waiting], self._using
        )
        self._save_endings()
        going = [part for part in self._slices if not part.ending]
        leases = self._hold_leases(going)
        self._held = held = [part for part in going if part.run.message_id in leases]
        self._skip_saved(held)
        self._publish(held, leases)
        if rows := [row for part in held for row in part.rows()]:
            _insert_event.execute_many(self._using, rows)
        for part in held:
            part.save_calls(self._worker, self._using)
        for part in going:
            self._look_at_lease(part, leases.get(part.run.message_id))
        self._finish_transaction(held)
        self._begin_commit()

    def finish(self) -> list[Progress]:
        """Note what is saved and inform the runs, after the commit; return those whose ending is saved."""
        now = time.monotonic()
        for part in self._slices:
            if not part.ending:
                part.mark_saved()
        for part in self._renewed:
            part.progress.lease_renewed_at = now
        for part, lease in self._stops:
            part.run.request_stop(lease.stop_by, lease.stop_position)
        for progress, ending in self._endings.items():
            send_ending(progress, ending)
        for part in self._held:
            # Last: a call must not begin to run if a stop was asked for.
            part.confirm_calls()
        return list(self._endings)

    def _save_endings(self) -> None:
        """Save the endings of the replies whose leases are not known to be lost."""
        completions = []
        for part in self._slices:
            if not part.ending:
                continue
            if part.progress.has_lost_lease:
                self._endings[part.progress] = ended_elsewhere(part.progress, self._using)
                continue
            completion = part.completion(part.ending, self._worker)
            completions.append(completion)
            self._endings[part.progress] = SavedEnding(completion.payload, completion.end_position, is_ours=True)
        if completions:
            self._ended = save_endings(completions, self._using)

    def _hold_leases(self, going: Sequence[RunSlice]) -> dict[uuid.UUID, HeldLease]:
        """Renew the leases that are due, and return those that are still this worker's."""
        if not going:
            return {}
        lease_seconds = conf.STREAMING_CHAT_LEASE_SECONDS
        renewed_before = time.monotonic() - lease_seconds / 3
        self._renewed = [part for part in going if part.is_lease_due(renewed_before)]
        if self._renewed:
            due = [part.run.message_id for part in self._renewed]
            lease = timedelta(seconds=lease_seconds)
            _renew_leases.execute(self._using, worker=self._worker, message_ids=due, lease=lease)
        if without_reader := [part.run.message_id for part in going if part.run.is_unfollowed]:
            mine = LiveReply.objects.using(self._using).filter(pk__in=without_reader, worker=self._worker)
            mine.filter(Q(followed_until=None) | Q(followed_until__lt=Now())).request_stop("disconnect")
        ids = [part.run.message_id for part in going]
        rows = _held_leases.rows(self._using, worker=self._worker, message_ids=ids)
        return {pk: HeldLease(*columns) for pk, *columns in rows}

    def _skip_saved(self, held: Iterable[RunSlice]) -> None:
        """Leave out what was saved by commits whose answer did not come.

        Only under the lock of the lease: such a commit may still be in flight, and would hold that lock.
        """
        uncertain = {part.run.message_id: part for part in held if part.progress.is_uncertain}
        if not uncertain:
            return
        own = ReplyEvent.objects.using(self._using).filter(message_id=OuterRef("message_id"))
        last = own.order_by("-position").values("position")[:1]
        rows = ReplyEvent.objects.using(self._using).filter(message_id__in=uncertain, position=Subquery(last))
        for pk, position, kind, payload in rows.values_list("message_id", "position", "kind", "payload"):
            _skip(uncertain[pk], position + Event(kind, payload).size)

    def _publish(self, held: Iterable[RunSlice], leases: dict[uuid.UUID, HeldLease]) -> None:
        """Publish the events of replies that are followed in other processes, beside saving them."""
        try:
            for part in held:
                if leases[part.run.message_id].is_followed:
                    part.progress.publish()
                else:
                    part.progress.stop_publishing()
        except Exception as error:  # noqa: BLE001  (a site's own notifier; followers read the database)
            logger.error("The notifier failed; followers see new events later: %s", describe(error))

    def _look_at_lease(self, part: RunSlice, lease: HeldLease | None) -> None:
        if lease is None and not self._may_wait(part):
            self._endings[part.progress] = ended_elsewhere(part.progress, self._using)
        elif lease is None or part.is_waiting:
            self._endings[part.progress] = WAITING
        elif lease.stop_by:
            self._stops.append((part, lease))

    def _may_wait(self, part: RunSlice) -> bool:
        """Return whether the reply waits already, by a commit whose answer did not come. It has no lease since then."""
        if not (part.is_waiting and part.progress.is_uncertain):
            return False
        return Message.objects.using(self._using).filter(pk=part.run.message_id, status__in=endings.LIVE).exists()

    def _finish_transaction(self, held: Iterable[RunSlice]) -> None:
        news = [part.run.message_id for part in held if part.events and (part.progress.is_published or part.is_waiting)]
        finish_transaction(self._ended, self._using, also_notify=news)

    def _begin_commit(self) -> None:
        begin_commit(self._endings)
        for part in self._slices:
            # Until the answer is here.
            part.progress.is_uncertain = True


def begin_commit(ending: Iterable[Progress]) -> None:
    """Note that the endings of these are being committed. Raises GivenUp if one was given up before."""
    if not all(progress.move(SavingState.COMMITTING) for progress in ending):
        raise GivenUp


def send_ending(progress: Progress, ending: SavedEnding) -> None:
    """Send a run's ending to its readers, after the commit; not if it was given up during the commit."""
    progress.stop_publishing()
    if not progress.move(SavingState.SAVED):
        return
    run = progress.run
    if ending is WAITING:
        run.mark_waiting()
        return
    run.mark_saved(ending.payload, ending.end_position)
    if ending.is_ours:
        announce_end(run.message_id, run.conversation_id, ending.payload)


def ended_elsewhere(progress: Progress, using: str) -> SavedEnding:
    """Return the ending of a reply whose lease is lost.

    It may be this worker's own, if the answer to its commit did not come.
    """
    run = progress.run
    message = Message.objects.using(using).filter(pk=run.message_id).first()
    if message is None or message.is_live:
        logger.warning("Reply %s was deleted, or is written by another worker.", run.message_id)
        not_saved = Ending(endings.INTERRUPTED, "not_saved", "not_saved")
        return SavedEnding(endings.payload(not_saved, "", None), 0, is_ours=False)
    is_ours = run.outcome is not None and is_same_ending(message.ending, run.outcome)
    if not is_ours:
        logger.warning("Reply %s was ended by another process.", run.message_id)
    return SavedEnding(message.end_payload(), message.end_position, is_ours)


def _skip(part: RunSlice, saved_upto: int) -> None:
    """Begin after the events that are saved up to this position."""
    progress = part.progress
    index, position = progress.index, progress.position
    while position < saved_upto:
        position += part.run.events[index].size
        index += 1
    progress.advance(index, position)
    part.begin_at(index, position)
