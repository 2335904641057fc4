"""Opens the stream of a reply that another process writes, or that has ended.

One thread of a process reads the database for all replies that the process follows, however many readers they have.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from django.db import DatabaseError, InterfaceError, connections

from streaming_chat.background_threads import BackgroundThread
from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.logs import describe, logger
from streaming_chat.models import Message
from streaming_chat.notifiers import get_notifier
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import START, Event, after

from . import lookup
from .lookup import Reading
from .stream import ReplyStream

# Between two reads of the database: without a connected notifier, and with one, which may still lose something.
_READ_SECONDS = 0.3
_CONNECTED_READ_SECONDS = 2.0
# Between two attempts while the database does not answer.
_OUTAGE_SECONDS = 0.5
# Between two updates of the rows that say which replies are followed.
_MARK_SECONDS = 5.0
# Events that a notifier carried before those that precede them were read: about half a second of a fast reply.
_MAX_EARLY_EVENTS = 1_000


class FollowedReply:
    """A reply that another process writes, and the stream that this process shows of it.

    stream: filled in its loop, which the caller sets. next_start: position of the next row of the database.
    """

    def __init__(self, message: Message, *, keeps_alive: bool = True) -> None:
        """Read the database once, in the caller's thread.

        message: as the database has it now. keeps_alive: whether the reply goes on for the sake of these readers.
        """
        self.message_id = message.pk
        self.keeps_alive = keeps_alive
        self.stream = ReplyStream(message.pk, None, is_authoritative=False, on_follow=self._on_follow)
        self.stream.append([Event(START, message.start_payload())])
        self.next_start = 1
        self._early: list[tuple[int, Sequence[Event]]] = []
        if message.is_live:
            self._read()
        else:
            self.append_reading(lookup.from_message(message))

    @classmethod
    def adopt(cls, stream: ReplyStream) -> None:
        """Follow a reply that a run of this process has written so far: it waits for an answer. In the stream's loop."""
        reply = cls.__new__(cls)
        reply.message_id, reply.stream, reply.keeps_alive = stream.message_id, stream, True
        reply.next_start = stream.position
        reply._early = []
        stream.hand_over(reply._on_follow)

    def append_reading(self, reading: Reading) -> None:
        """Append what was read. In the stream's loop."""
        self._append(reading.events, reading.start)
        if not reading.exists:
            # The reply was deleted, so nobody may read it any more.
            self.stream.end(endings.payload(Ending(endings.FAILED, error_code="forbidden"), "", None))
        elif reading.ending is not None:
            if reading.ending_position < self.stream.position:
                self.stream.cut_at(reading.ending_position)
            self.stream.end(reading.ending)
        else:
            early, self._early = self._early, []
            for position, events in early:
                self.append_carried(position, events)

    def append_carried(self, position: int, events: Sequence[Event]) -> bool:
        """Append what a notifier carried; False if events before it must be read first. In the stream's loop."""
        if position <= self.stream.position:
            self._append(events, position)
            return True
        if len(self._early) >= _MAX_EARLY_EVENTS:
            self._early.clear()
        self._early.append((position, events))
        return False

    def call_in_loop(self, call: Callable[..., object], *arguments: object) -> None:
        """Make a call in the stream's loop, unless that is closed: then the next read removes the reply."""
        self.stream.call_in_loop(call, *arguments)

    def _read(self) -> None:
        if self.keeps_alive:
            lookup.mark_followed([self.message_id])
        reading = lookup.read({self.message_id: 1}).get(self.message_id)
        if reading is None:
            return
        self.next_start = reading.next_start
        self.append_reading(reading)
        if reading.worker:
            # It may carry events from now on. And if a stop was just requested, its row must be read now.
            get_notifier().wake(live_database(), reading.worker, self.message_id)

    def _append(self, events: Iterable[Event], position: int) -> None:
        if new := list(after(events, self.stream.position, position)):
            self.stream.append(new)

    def _on_follow(self, is_followed: bool) -> None:
        (follower.add if is_followed else follower.remove)(self)


class Follower:
    """The thread that reads the database, started when a reply is first followed, and the replies that are followed."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a forked child."""
        self._lock = threading.Lock()
        self._thread = BackgroundThread("streaming_chat.follower", self._turn)
        self._due = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        # By id; one for each event loop whose readers follow the reply, and one for those that do not keep it alive.
        self._followed: dict[uuid.UUID, list[FollowedReply]] = {}
        self._next_mark = 0.0
        self._is_away = False
        self._is_dismissed = False

    def share(self, reply: FollowedReply) -> FollowedReply:
        """Return the same reply if it is followed in that loop already, or this one."""
        if reply.stream.ended:
            # The other does not know yet.
            return reply
        for other in self._followed.get(reply.message_id, ()):
            is_alike = (other.stream.loop, other.keeps_alive) == (reply.stream.loop, reply.keeps_alive)
            if is_alike and not other.stream.ended:
                return other
        return reply

    def add(self, reply: FollowedReply) -> None:
        """Follow this reply, whose first reader has come."""
        with self._lock:
            replies = self._followed.setdefault(reply.message_id, [])
            if reply not in replies:
                replies.append(reply)
            self._idle.clear()
            # With the lock: the `unsubscribe` of another loop must not overtake it.
            get_notifier().subscribe(reply.message_id, self, live_database())
        self._thread.start()
        self._due.set()
        if self._is_dismissed:
            reply.stream.dismiss()

    def remove(self, reply: FollowedReply) -> None:
        """Follow this reply no longer: it has ended, or its last reader has left. May be called repeatedly."""
        with self._lock:
            replies = self._followed.get(reply.message_id, [])
            if reply in replies:
                replies.remove(reply)
            if replies or reply.message_id not in self._followed:
                return
            del self._followed[reply.message_id]
            get_notifier().unsubscribe(reply.message_id)
        self._due.set()

    def dismiss(self) -> None:
        """Dismiss all readers, now and from now on: this process ends. Takes no lock, since a signal handler calls it."""
        self._is_dismissed = True
        for replies in list(self._followed.values()):
            for reply in list(replies):
                reply.call_in_loop(reply.stream.dismiss)

    def rows_changed(self, message_ids: Iterable[uuid.UUID]) -> None:
        """See notifiers.Subscriber."""
        if any(pk in self._followed for pk in message_ids):
            self._due.set()

    def events_received(self, message_id: uuid.UUID, position: int, events: Sequence[Event]) -> None:
        """See notifiers.Subscriber."""
        with self._lock:
            replies = list(self._followed.get(message_id, ()))
        for reply in replies:
            reply.call_in_loop(self._append_carried, reply, position, events)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is followed and the database connection is closed; False if that took longer."""
        return self._idle.wait(seconds)

    def _append_carried(self, reply: FollowedReply, position: int, events: Sequence[Event]) -> None:
        if not reply.append_carried(position, events):
            self._due.set()

    # The thread

    def _turn(self) -> None:
        """Read the database once, and wait until it must be read again."""
        pause = self._read_safely() if self._followed else None
        if self._become_idle():
            pause = None
        self._due.wait(pause)
        self._due.clear()

    def _become_idle(self) -> bool:
        """Close the connection if nothing is followed; return whether that is so."""
        with self._lock:
            if self._followed:
                return False
            connections.close_all()
            self._idle.set()
            return True

    def _read_safely(self) -> float:
        """Read the database; return the seconds until the next read."""
        try:
            self._read_on_fresh_connection()
        except Exception as error:  # noqa: BLE001  (each read is a new attempt; meanwhile readers wait)
            self._note_outage(error)
            return _OUTAGE_SECONDS
        if self._is_away:
            self._is_away = False
            logger.info("Replies of other processes are followed again.")
        return _CONNECTED_READ_SECONDS if get_notifier().is_connected else _READ_SECONDS

    def _note_outage(self, error: Exception) -> None:
        lease_judge.database_failed()
        connections.close_all()
        if not self._is_away:
            self._is_away = True
            logger.warning("Replies of other processes cannot be followed now: %s", describe(error))

    def _read_on_fresh_connection(self) -> None:
        """Read the database, a second time if the first failed: an old connection that was ended is no outage."""
        try:
            self._read()
        except (DatabaseError, InterfaceError):
            connections.close_all()
            self._read()

    def _read(self) -> None:
        replies = self._open_replies()
        self._mark_followed(replies)
        readings = lookup.read(_first_starts(replies))
        found = [(reply, readings[reply.message_id]) for reply in replies if reply.message_id in readings]
        self._deliver([(reply, reading) for reply, reading in found if reading.events or reading.is_final])

    def _open_replies(self) -> list[FollowedReply]:
        """Return what is followed, without the replies of event loops that were closed with their readers."""
        with self._lock:
            followed = [reply for replies in self._followed.values() for reply in replies]
        closed = [reply for reply in followed if reply.stream.loop is None or reply.stream.loop.is_closed()]
        for reply in closed:
            self.remove(reply)
        return [reply for reply in followed if reply not in closed]

    def _mark_followed(self, replies: Iterable[FollowedReply]) -> None:
        if time.monotonic() >= self._next_mark:
            self._next_mark = time.monotonic() + _MARK_SECONDS
            lookup.mark_followed({reply.message_id for reply in replies if reply.keeps_alive})

    def _deliver(self, found: Iterable[tuple[FollowedReply, Reading]]) -> None:
        """Append what was read to the streams, with one call for each event loop."""
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[FollowedReply, Reading]]] = defaultdict(list)
        for reply, reading in found:
            reply.next_start = reading.next_start
            by_loop[reply.stream.loop].append((reply, reading))
            if reading.is_final:
                self.remove(reply)
        for some in by_loop.values():
            some[0][0].call_in_loop(_append_readings, some)


def _first_starts(replies: Iterable[FollowedReply]) -> Mapping[uuid.UUID, int]:
    """Return where to read each reply from: where the one that has read least of it goes on."""
    starts: dict[uuid.UUID, int] = {}
    for reply in replies:
        starts[reply.message_id] = min(starts.get(reply.message_id, reply.next_start), reply.next_start)
    return starts


def _append_readings(found: Iterable[tuple[FollowedReply, Reading]]) -> None:
    for reply, reading in found:
        reply.append_reading(reading)


follower = Follower()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=follower.reset)
