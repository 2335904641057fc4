"""A reply's stream as this process holds it: an append-only list of events, and who waits for more.

A run fills it while a provider writes, a tail while another process does, a finished message at once; readers know no
difference. Only the event loop that fills it touches `readers`; any thread may read `events`, which only grows.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from streaming_chat.protocol.events import DELTAS, END, Event


class Waiter(Protocol):
    """Someone who wants to know that there is more."""

    def wake(self) -> None:
        """Called in the stream's loop, or in any thread once the stream has none; must not block or raise."""


class ReplyStream:
    """The events of one reply, from `start`.

    position: units so far. cut: where the reply ends for its readers, once a stop said so. ended: the ending has been
    saved and is the last event. dismissed: its readers are to leave without an ending, and come back elsewhere. whole:
    everything there is at this moment is here, so a position beyond it is an error; False for a tail, which may lag
    behind a position that the writing process has given out. watchers: readers for whom a reply does not go on: staff.
    """

    __slots__ = (
        "_on_follow",
        "cut",
        "dismissed",
        "ended",
        "events",
        "loop",
        "message_id",
        "position",
        "readers",
        "watchers",
        "whole",
    )

    def __init__(
        self,
        message_id: uuid.UUID,
        loop: asyncio.AbstractEventLoop | None,
        *,
        whole: bool = True,
        on_follow: Callable[[bool], None] | None = None,
    ) -> None:
        """on_follow: called with True when the first reader comes, with False when the last has gone."""
        self.message_id = message_id
        self.loop = loop
        self.whole = whole
        self.events: list[Event] = []
        self.position = 0
        self.cut: int | None = None
        self.ended = False
        self.dismissed = False
        self.readers: set[Waiter] = set()
        self.watchers: set[Waiter] = set()
        self._on_follow = on_follow

    def append(self, new: Iterable[Event]) -> None:
        """Add events and tell the readers; nothing follows the ending. In the stream's loop."""
        if self.ended:
            return
        for event in new:
            kind, payload = event
            # The position first: a reader in another thread must never be ahead of it.
            self.position += len(payload) if kind in DELTAS else event.size
            self.events.append(event)
        self.nudge()

    def end(self, payload: dict[str, Any]) -> None:
        """Add the ending, once, and tell the readers. In the stream's loop."""
        if not self.ended:
            self.events.append(Event(END, payload))
            self.ended = True
            # Whoever leaves now changes nothing; without this a run and its stream would be a cycle, freed late.
            self._on_follow = None
            self.nudge()

    def dismiss(self) -> None:
        """Send the readers away: this process ends, and has no ending for them. In the stream's loop."""
        self.dismissed = True
        self.nudge()

    def nudge(self) -> None:
        """Tell the readers to look again. In the stream's loop."""
        for reader in self.readers:
            reader.wake()
        for watcher in self.watchers:
            watcher.wake()

    def attach(self, reader: Waiter, *, keeps: bool = True) -> None:
        """Wake this reader at each change from now on. From any thread. keeps: whether the reply goes on for it."""
        attach = self._attach if keeps else self._watch
        if self.loop is None or _running_loop() is self.loop:
            attach(reader)
        else:
            self._in_loop(attach, reader)

    def detach(self, reader: Waiter, seconds: float = 0) -> None:
        """Forget this reader, and end its wait. From any thread, however often. seconds: for which it still counts.

        Never at once where there is a loop: the collector may call it while the readers are walked.
        """
        self._in_loop(partial(self._detach_after, seconds) if seconds else self._detach, reader)

    def wait_until_ended(self) -> bool:
        """Block a thread, not the stream's loop, until the ending is here; False if the readers were dismissed."""
        waiter = ThreadWaiter()
        self.attach(waiter)
        try:
            while not (self.ended or self.dismissed):
                waiter.wait()
                waiter.clear()
        finally:
            self.detach(waiter)
        return self.ended

    def locate(self, position: int) -> tuple[int, int] | None:
        """Return the index of the event that holds a position, and how many of its units precede it; None: not here yet.

        By the events alone: to a reader in another thread `position` already counts one that is just being added.
        """
        first = index = 0
        for event in self.events:
            size = event.size
            if first + size > position:
                return index, position - first if event.kind in DELTAS else 0
            if event.kind == END:
                break
            first += size
            index += 1
        return (index, 0) if first == position else None

    def _attach(self, reader: Waiter) -> None:
        first = not self.readers
        self.readers.add(reader)
        if first and self._on_follow:
            self._on_follow(True)
        # What came between the reader's last look and now.
        reader.wake()

    def _watch(self, reader: Waiter) -> None:
        self.watchers.add(reader)
        reader.wake()

    def _detach(self, reader: Waiter) -> None:
        if reader in self.watchers:
            self.watchers.discard(reader)
            reader.wake()
        if reader in self.readers:
            self.readers.discard(reader)
            reader.wake()
            if not self.readers and self._on_follow:
                self._on_follow(False)

    def _detach_after(self, seconds: float, reader: Waiter) -> None:
        if self.loop is None:
            self._detach(reader)
        else:
            self.loop.call_later(seconds, self._detach, reader)

    def _in_loop(self, call: Callable[[Waiter], object], reader: Waiter) -> None:
        if self.loop is None:
            call(reader)
            return
        try:
            self.loop.call_soon_threadsafe(call, reader)
        except RuntimeError:
            # The loop is closed: its server has gone, and with it everybody who followed.
            return


class LoopWaiter:
    """Waits inside an event loop: one future a wait, no lock, no queue."""

    __slots__ = ("_loop", "future", "stream_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, stream_loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self.stream_loop = stream_loop
        self.future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """End the wait under way, if any."""
        if self.stream_loop is self._loop:
            future = self.future
            if future is not None and not future.done():
                future.set_result(None)
        else:
            try:
                self._loop.call_soon_threadsafe(self.wake_here)
            except RuntimeError:
                return

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits now."""
        return self.future is not None and not self.future.done()

    def wake_here(self) -> None:
        """End the wait under way; in the waiter's own loop."""
        future = self.future
        if future is not None and not future.done():
            future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        """Return what the next wake ends. Nothing may be awaited between looking for events and awaiting it."""
        self.future = future = self._loop.create_future()
        return future


class ThreadWaiter:
    """Waits in a thread."""

    __slots__ = ("_event", "clear")

    def __init__(self) -> None:
        self._event = threading.Event()
        self.clear = self._event.clear

    def wake(self) -> None:
        """End the wait under way, or the next."""
        self._event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Return True at a wake, False after so many seconds."""
        return self._event.wait(seconds)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
