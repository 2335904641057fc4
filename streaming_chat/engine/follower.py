"""Opens a reply's stream in this process, wherever the reply is written, or was.

One thread of a process looks at the database for all replies that it follows, however many readers they have here.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db import DatabaseError, InterfaceError, connections

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

# Between two looks at the database: without a tail that hears, and as a safeguard beside one.
_LOOK_SECONDS = 0.3
_SAFEGUARD_SECONDS = 2.0
_PUSH_SECONDS = 5.0
# Between tries while the database is away.
_AWAY_SECONDS = 0.5
# Events that came over a tail before those that precede them, kept until the database has these: 0.5 s of a fast reply.
_AHEAD = 1_000


class FollowedReply:
    """One reply that another process writes, as this one knows it. `stream` is filled in the stream's loop."""

    def __init__(self, message: Message, *, keeps: bool = True) -> None:
        """Look once, in the caller's thread; `stream` holds what was found.

        message: as the database has it now. keeps: whether the reply is to go on for whoever reads this.
        """
        self.message_id = message.pk
        self.keeps = keeps
        self.stream = ReplyStream(message.pk, None, is_authoritative=False, on_follow=self._on_follow)
        self.stream.append([Event(START, message.start_payload())])
        # Where the next row of the database begins.
        self.start = 1
        self._ahead: list[tuple[int, Sequence[Event]]] = []
        if not message.is_live:
            self.take(lookup.of_ended(message), 1)
            return
        if keeps:
            lookup.push([message.pk])
        reading, start = self._look()
        self.take(reading, start)
        if reading.worker:
            # It may carry events from now on; and whoever has just asked for a stop comes here to wait for the ending.
            get_notifier().wake(live_database(), reading.worker, message.pk)

    def advance(self, reading: Reading) -> int:
        """Note how far the database was read; return where this reading's events begin. In the thread that looks."""
        start = self.start if reading.end is None else 1
        self.start = reading.next
        return start

    def take(self, reading: Reading, start: int) -> None:
        """Append what a look found. In the stream's loop."""
        self._append(reading.events, start)
        if not reading.exists:
            # Deleted: nobody may read it any more.
            self.stream.end(endings.payload(Ending(endings.FAILED, error_code="forbidden"), "", None))
        elif reading.end is not None:
            if reading.end_position < self.stream.position:
                self.stream.cut = max(reading.end_position, 1)
            self.stream.end(reading.end)
        elif self._ahead:
            ahead, self._ahead = self._ahead, []
            for position, events in ahead:
                self.take_ahead(position, events)

    def take_ahead(self, position: int, events: Sequence[Event]) -> bool:
        """Append what a tail carried; False when the database must be asked for what precedes it. In the stream's loop."""
        if position > self.stream.position:
            if len(self._ahead) >= _AHEAD:
                self._ahead.clear()
            self._ahead.append((position, events))
            return False
        self._append(events, position)
        return True

    def _look(self) -> tuple[Reading, int]:
        reading = lookup.look({self.message_id: self.start}).get(self.message_id) or Reading([], self.start)
        return reading, self.advance(reading)

    def _append(self, events: Iterable[Event], start: int) -> None:
        new = list(after(events, self.stream.position, start))
        if new:
            self.stream.append(new)

    def _on_follow(self, is_followed: bool) -> None:
        (follower.add if is_followed else follower.remove)(self)


class Follower:
    """The thread that looks, made when something is followed, and what is followed here. Streams are shared by loop."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a child of a fork."""
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        # Reply -> who of this process follows it: one a loop.
        self._followed: dict[uuid.UUID, list[FollowedReply]] = {}
        self._next_push = 0.0
        self._is_away = False
        self._is_dismissed = False

    def share(self, following: FollowedReply) -> FollowedReply:
        """Return the one whose stream is to be read: one that is followed in that loop already, or this one."""
        for other in self._followed.get(following.message_id, ()):
            shares = (other.stream.loop, other.keeps) == (following.stream.loop, following.keeps)
            if shares and not other.stream.ended:
                return other
        return following

    def add(self, following: FollowedReply) -> None:
        """Follow from now on; its first reader has come."""
        with self._lock:
            others = self._followed.setdefault(following.message_id, [])
            if following not in others:
                others.append(following)
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="streaming_chat.follower", daemon=True)
                self._thread.start()
            # Inside: a "no more" of another loop must not overtake it.
            get_notifier().subscribe(following.message_id, self, live_database())
        self._due.set()
        if self._is_dismissed:
            following.stream.dismiss()

    def remove(self, following: FollowedReply) -> None:
        """Follow no more: it has ended, or its last reader has gone. However often."""
        with self._lock:
            others = self._followed.get(following.message_id, [])
            if following in others:
                others.remove(following)
            if others or following.message_id not in self._followed:
                return
            del self._followed[following.message_id]
            get_notifier().unsubscribe(following.message_id)
        self._due.set()

    def dismiss(self) -> None:
        """Send all readers elsewhere, now and from now on: this process ends. In a signal's handler: takes no lock."""
        self._is_dismissed = True
        for others in list(self._followed.values()):
            for following in list(others):
                _in_loop(following, following.stream.dismiss)

    def rows_changed(self, message_ids: Iterable[uuid.UUID]) -> None:
        """Look at the database now, if one of these is followed."""
        if any(pk in self._followed for pk in message_ids):
            self._due.set()

    def events_received(self, message_id: uuid.UUID, position: int, events: Sequence[Event]) -> None:
        """Hand events that a tail carried to the streams of this reply."""
        for following in self._of(message_id):
            _in_loop(following, self._take_ahead, following, position, events)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is followed and the connection is closed; False when that took longer."""
        return self._idle.wait(seconds)

    def _take_ahead(self, following: FollowedReply, position: int, events: Sequence[Event]) -> None:
        if not following.take_ahead(position, events):
            self._due.set()

    def _work(self) -> None:
        while True:
            pause = None if not self._followed else self._look_safely()
            with self._lock:
                if not self._followed:
                    connections.close_all()
                    self._idle.set()
                    pause = None
            self._due.wait(pause)
            self._due.clear()

    def _look_safely(self) -> float:
        """Look once; return for how long not to."""
        try:
            self._look_twice()
        except Exception as error:  # noqa: BLE001  (a thread that died would leave every reader here without an ending)
            lease_judge.database_failed()
            if not self._is_away:
                logger.warning("Replies of other processes cannot be followed now: %s", describe(error))
            self._is_away = True
            connections.close_all()
            return _AWAY_SECONDS
        if self._is_away:
            self._is_away = False
            logger.info("Replies of other processes are followed again.")
        return _SAFEGUARD_SECONDS if get_notifier().is_connected else _LOOK_SECONDS

    def _look_twice(self) -> None:
        """Look, again on a fresh connection where the old one was ended: that alone is no outage."""
        try:
            self._look()
        except (DatabaseError, InterfaceError):
            connections.close_all()
            self._look()

    def _look(self) -> None:
        with self._lock:
            followings = [following for others in self._followed.values() for following in others]
        for following in followings:
            if following.stream.loop is None or following.stream.loop.is_closed():
                # Its server has gone, and with it everybody who followed there.
                self.remove(following)
        starts: dict[uuid.UUID, int] = {}
        for following in followings:
            pk = following.message_id
            starts[pk] = min(starts.get(pk, following.start), following.start)
        if time.monotonic() >= self._next_push:
            self._next_push = time.monotonic() + _PUSH_SECONDS
            lookup.push({following.message_id for following in followings if following.keeps})
        readings = lookup.look(starts)
        new: dict[asyncio.AbstractEventLoop | None, list[tuple[FollowedReply, Reading, int]]] = defaultdict(list)
        for following in followings:
            pk = following.message_id
            if (reading := readings.get(pk)) and (reading.events or reading.end or not reading.exists):
                following.start = starts[pk]
                new[following.stream.loop].append((following, reading, following.advance(reading)))
                if reading.end or not reading.exists:
                    self.remove(following)
        for taken in new.values():
            _in_loop(taken[0][0], _take_all, taken)

    def _of(self, message_id: uuid.UUID) -> list[FollowedReply]:
        with self._lock:
            return list(self._followed.get(message_id, ()))


def _take_all(taken: Iterable[tuple[FollowedReply, Reading, int]]) -> None:
    for following, reading, start in taken:
        following.take(reading, start)


def _in_loop(following: FollowedReply, call: object, *arguments: object) -> None:
    loop = following.stream.loop
    try:
        loop.call_soon_threadsafe(call, *arguments)  # type: ignore[union-attr, arg-type]
    except RuntimeError:
        # The loop is closed: the next look finds out.
        return


follower = Follower()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=follower.reset)
