"""The one thread of a process that saves what its runs receive, and each ending exactly once.

All runs' new events go into one transaction, at most every FLUSH_SECONDS: 100 streams cost two commits a second. A
reader is told of an ending only after its commit.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from . import endings, events
from .conf import conf
from .endings import Ending
from .events import Event
from .logs import describe, logger
from .models import Conversation, LiveReply, Message, ReplyEvent, bound_lock_wait, end_reply, live_database
from .record import settle
from .signals import announce, reply_ended
from .steadiness import steadiness
from .tails import get_tail

# Endings that come together are saved together: 20 ms are not noticed, and 100 replies that end at once cost one commit.
_LINGER_SECONDS = 0.02
# Stops of other processes are read at least this often.
_STOPS_SECONDS = 1.0
# How long the ending of a reply is tried to be saved while the database is away.
_ENDING_SECONDS = 30.0


class Saved(Protocol):
    """A run, as the writer sees it. Attributes are read in the writer's thread, methods only hand over to the run's."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    outcome: Ending | None
    is_deserted: bool
    events: list[Event]

    def columns(self) -> dict[str, Any]:
        """Return the further columns of its message, once there is an outcome."""

    def request_stop(self, by: str, position: int | None) -> None:
        """End it: another process said so, or nobody follows it."""

    def saved(self, payload: dict[str, Any], end_position: int) -> None:
        """Its ending is saved, by whomever; this is what its readers are to be told."""


class Batch:
    """One look at one run: what it has that is not saved yet."""

    __slots__ = ("ending", "events", "position", "run", "upto")

    def __init__(self, run: Saved, index: int, position: int) -> None:
        self.run = run
        # The outcome before the events: once it is there, all of them are.
        self.ending = run.outcome
        self.upto = len(run.events)
        self.events = list(events.merge(run.events[index : self.upto]))
        self.position = position

    def rows(self) -> Iterable[ReplyEvent]:
        """Yield the rows to insert."""
        position = self.position
        for event in self.events:
            yield ReplyEvent(message_id=self.run.message_id, position=position, kind=event.kind, payload=event.payload)
            position += event.size

    def received(self) -> list[Event]:
        """Return all events of the run without start and ending, merged."""
        return list(events.merge(event for event in self.run.events[1 : self.upto]))


class Ledger:
    """How much of each run is saved, and the saving itself; used by one thread at a time."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        # Message -> index of the first event that is not saved, and its position.
        self._marks: dict[uuid.UUID, tuple[int, int]] = {}
        # Messages of a commit whose answer was lost, so that it may have happened.
        self._unsure: set[uuid.UUID] = set()
        # Messages that were followed in another process at their last flush.
        self._followed: set[uuid.UUID] = set()

    def save(self, runs: Sequence[Saved]) -> list[Saved]:
        """Save what these runs have, in one transaction, and return those that are done with.

        A batch that fails for another reason than the connection is repeated reply by reply; the bad one ends as
        not_saved. Raises OperationalError or InterfaceError when the database is away.
        """
        for run in runs:
            if run.message_id in self._unsure:
                self._marks[run.message_id] = self._read_mark(run)
                self._unsure.remove(run.message_id)
        batches = [Batch(run, *self._marks.get(run.message_id, (1, 1))) for run in runs]
        try:
            return self._commit(batches)
        except (OperationalError, InterfaceError):
            # What is saved of these is read again before the next; not all of them may be in it.
            self._unsure.update(run.message_id for run in runs)
            raise
        except Exception as error:  # noqa: BLE001  (a value may be refused by any class; the log has it)
            if len(batches) > 1:
                return [run for batch in batches for run in self.save([batch.run])]
            logger.error("Reply %s could not be saved: %s", batches[0].run.message_id, describe(error))
            return self._refuse(batches[0])

    def forget(self, run: Saved) -> None:
        """Drop what is known of a run."""
        self._marks.pop(run.message_id, None)
        self._unsure.discard(run.message_id)
        if run.message_id in self._followed:
            self._followed.remove(run.message_id)
            get_tail().feed_no_more(run.message_id)

    def _read_mark(self, run: Saved) -> tuple[int, int]:
        saved = ReplyEvent.objects.using(live_database()).filter(message_id=run.message_id)
        last = saved.order_by("-position").first()
        end = last.position + Event(last.kind, last.payload).size if last else 1
        position = 1
        for index, event in enumerate(run.events[1:], 1):
            if position >= end:
                return index, position
            position += event.size
        return len(run.events), position

    def _commit(self, batches: Sequence[Batch]) -> list[Saved]:
        using = live_database()
        with transaction.atomic(using=using):
            bound_lock_wait(using)
            ended, stops = self._write(batches, using)
        for batch in batches:
            index, position = batch.upto, batch.position + events.length(batch.events)
            self._marks[batch.run.message_id] = index, position
        for run, by, cut in stops:
            run.request_stop(by, cut)
        done = [batch.run for batch in batches if batch.run.message_id in ended]
        for batch in batches:
            if (payload := ended.get(batch.run.message_id)) is not None:
                self._tell(batch.run, *payload)
        return done

    def _write(
        self, batches: Sequence[Batch], using: str
    ) -> tuple[dict[uuid.UUID, tuple[dict[str, Any], int]], list[tuple[Saved, str, int | None]]]:
        """Write one transaction; return what to tell the runs after its commit."""
        ending = {batch: batch.ending for batch in batches if batch.ending}
        if ending:
            conversations = sorted(batch.run.conversation_id for batch in ending)
            Conversation.objects.using(using).filter(pk__in=conversations).update(last_activity=Now())
        held = self._hold([batch.run for batch in batches if not batch.ending], using)
        self._feed_followed(batches, held)
        ReplyEvent.objects.using(using).bulk_create(
            row for batch in batches if batch.run.message_id in held for row in batch.rows()
        )
        ended: dict[uuid.UUID, tuple[dict[str, Any], int]] = {}
        stops: list[tuple[Saved, str, int | None]] = []
        for batch in batches:
            run = batch.run
            if batch in ending:
                ended[run.message_id] = self._end(batch, ending[batch], using)
            elif (live := held.get(run.message_id)) is None:
                ended[run.message_id] = self._settled(run, using)
            elif live.stop:
                stops.append((run, live.stop, live.stop_position))
        ids = [batch.run.message_id for batch in batches if batch.events or batch.ending]
        if news := [pk for pk in ids if pk in ended or pk in self._followed]:
            get_tail().tell(using, news)
        return ended, stops

    def _feed_followed(self, batches: Sequence[Batch], held: dict[uuid.UUID, LiveReply]) -> None:
        """Carry the events of replies that are followed in other processes, beside saving them."""
        for batch in batches:
            run = batch.run
            live = held.get(run.message_id)
            if live is None:
                continue
            if live.is_followed:  # type: ignore[attr-defined]  # annotated in _hold
                self._followed.add(run.message_id)
                get_tail().feed(run.message_id, run.events)
            elif run.message_id in self._followed:
                self._followed.remove(run.message_id)
                get_tail().feed_no_more(run.message_id)

    def _hold(self, runs: Sequence[Saved], using: str) -> dict[uuid.UUID, LiveReply]:
        """Renew the claims on these runs' replies, and return the rows of those that are still ours."""
        if not runs:
            return {}
        ids = [run.message_id for run in runs]
        mine = LiveReply.objects.using(using).filter(pk__in=ids, worker=self.worker)
        mine.update(expires_at=LiveReply.lease())
        if deserted := [run.message_id for run in runs if run.is_deserted]:
            unfollowed = Q(followed_until=None) | Q(followed_until__lt=Now())
            mine.filter(unfollowed, pk__in=deserted).request_stop("disconnect")
        is_followed = ExpressionWrapper(Q(followed_until__gt=Now()), BooleanField())
        return {row.pk: row for row in mine.annotate(is_followed=is_followed)}

    def _end(self, batch: Batch, ending: Ending, using: str) -> tuple[dict[str, Any], int]:
        run, received = batch.run, batch.received()
        told = end_reply(
            run.message_id,
            run.conversation_id,
            ending,
            received,
            using=using,
            worker=self.worker,
            **run.columns(),
        )
        return told or self._settled(run, using)

    def _settled(self, run: Saved, using: str) -> tuple[dict[str, Any], int]:
        """Return the ending of a reply that is not ours any more: another process settled it, or it was deleted."""
        logger.warning("Reply %s was settled or deleted elsewhere.", run.message_id)
        return self._payload(run, using)

    def _payload(self, run: Saved, using: str) -> tuple[dict[str, Any], int]:
        message = Message.objects.using(using).filter(pk=run.message_id).first()
        if message is None or message.is_live:
            return endings.payload(Ending(endings.INTERRUPTED, "not_saved", "not_saved"), "", None), 0
        return message.end_payload(), message.end_position

    def _refuse(self, batch: Batch) -> list[Saved]:
        """End a reply whose text the database refuses, with what it accepted before."""
        run = batch.run
        using = live_database()
        with transaction.atomic(using=using):
            Conversation.objects.using(using).filter(pk=run.conversation_id).update(last_activity=Now())
            held = LiveReply.objects.using(using).filter(pk=run.message_id, worker=self.worker)
            if held.update(expires_at=LiveReply.lease()):
                accepted = ReplyEvent.objects.using(using).stream(run.message_id)
                ending = endings.broken("not_saved", received=bool(accepted))
                end_reply(run.message_id, run.conversation_id, ending, accepted, using=using)
                get_tail().tell(using, [run.message_id])
            payload = self._payload(run, using)
        run.request_stop("user", None)
        self._tell(run, *payload)
        return [run]

    def _tell(self, run: Saved, payload: dict[str, Any], end_position: int) -> None:
        self.forget(run)
        run.saved(payload, end_position)
        announce(
            reply_ended,
            Message,
            message=run.message_id,
            conversation=run.conversation_id,
            status=payload["status"],
            end_reason=payload["end_reason"],
        )


class Writer:
    """The thread, made at the first run and again after a fork."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.reset()

    def add(self, run: Saved) -> None:
        """Save this run's events and its ending from now on."""
        with self._lock:
            self._runs[run.message_id] = run
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="streaming_chat.writer", daemon=True)
                self._thread.start()
        self._wake.set()

    def hurry(self) -> None:
        """Save soon: a reply has ended, or is deserted. From any thread."""
        self._hurried = True
        self._wake.set()

    def look_at(self, message_ids: Iterable[uuid.UUID]) -> None:
        """Read the rows of these now: another process asked for a stop, or follows. From any thread."""
        if mine := self._runs.keys() & message_ids:
            self._asked |= mine
            self.hurry()

    @property
    def worker(self) -> str:
        """The name under which this process claims its replies."""
        return self._ledger.worker

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is left to save and the connection is closed; False when that took longer."""
        return self._idle.wait(seconds)

    def reset(self) -> None:
        """Begin anew, in a child of a fork: the thread, and what it saves, are the parent's."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._hurried = False
        self._asked: set[uuid.UUID] = set()
        self._runs: dict[uuid.UUID, Saved] = {}
        self._unsaved_since: dict[uuid.UUID, float] = {}
        self._next_settling = 0.0
        self._thread = None
        self._ledger = Ledger(uuid.uuid4().hex)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if not self._runs:
                continue
            get_tail().serve(self.worker, self.look_at, live_database())
            self._save_until_idle()
            connections.close_all()
            with self._lock:
                if not self._runs:
                    get_tail().serve_no_more()
                    self._idle.set()

    def _save_until_idle(self) -> None:
        """Save all runs once an interval, and between those what cannot wait: endings, and stops of deserted replies."""
        due = self._next_flush()
        while self._runs:
            while not self._hurried and (left := due - time.monotonic()) > 0:
                self._wake.wait(left)
                self._wake.clear()
            if self._hurried:
                time.sleep(_LINGER_SECONDS)
                self._hurried = False
            asked, self._asked = self._asked, set()
            runs = list(self._runs.values())
            if time.monotonic() < due:
                # 50 requests a second would have saved 50 live replies 50 times a second.
                runs = [run for run in runs if run.outcome or run.is_deserted or run.message_id in asked]
            else:
                due = self._next_flush()
            if self._flush(runs):
                self._settle_dead()

    def _next_flush(self) -> float:
        return time.monotonic() + min(conf.STREAMING_CHAT_FLUSH_SECONDS, _STOPS_SECONDS)

    def _flush(self, runs: Sequence[Saved]) -> bool:
        """Save what these runs have; False when the database is away."""
        try:
            done = self._ledger.save(runs)
        except Exception as error:  # noqa: BLE001  (a thread that died would leave every reply of this process unsaved)
            logger.warning("The database is away (%s); %d replies wait in memory.", type(error).__name__, len(runs))
            if not isinstance(error, DatabaseError | InterfaceError):
                logger.error("Saving failed: %s", describe(error))
            steadiness.broke()
            connections.close_all()
            self._give_up(runs)
            time.sleep(min(conf.STREAMING_CHAT_FLUSH_SECONDS, 0.5))
            return False
        steadiness.worked()
        for run in done:
            self._drop(run)
        return True

    def _settle_dead(self) -> None:
        """End the replies of dead workers, once a lease, each in its own transaction; see steadiness.py."""
        if time.monotonic() < self._next_settling or not steadiness.holds:
            return
        self._next_settling = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS
        try:
            for live in LiveReply.objects.using(live_database()).abandoned():
                # By run, not by worker: an ending of ours that was given up is nobody's, too.
                if live.pk not in self._runs:
                    settle(live)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Replies of dead workers could not be settled (%s).", type(error).__name__)
            connections.close_all()

    def _give_up(self, runs: Iterable[Saved]) -> None:
        """Tell the readers of replies whose ending could not be saved for so long; their rows are settled later."""
        now = time.monotonic()
        for run in runs:
            if run.outcome is None:
                continue
            if now - self._unsaved_since.setdefault(run.message_id, now) > _ENDING_SECONDS:
                logger.error("The ending of reply %s could not be saved.", run.message_id)
                run.saved(endings.payload(Ending(endings.INTERRUPTED, "not_saved", "not_saved"), "", None), 0)
                self._ledger.forget(run)
                self._drop(run)

    def _drop(self, run: Saved) -> None:
        with self._lock:
            self._runs.pop(run.message_id, None)
        self._unsaved_since.pop(run.message_id, None)


writer = Writer()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=writer.reset)
