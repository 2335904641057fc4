"""A reply's stream as this process holds it: an append-only list of events, and the readers that wait for more.

A run fills it while a provider writes, a follower while another process does, a finished message at once; readers know no
difference. Only the event loop that fills it touches `readers`; any thread may read `events`, which only grows.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from streaming_chat.protocol.events import APPROVAL, DELTAS, END, NO_CONTENT, Event

from .event_loops import call_in_loop, running_loop


class Waiter(Protocol):
    """What a stream notifies of a change."""

    def wake(self) -> None:
        """Called in the stream's loop, or in any thread if the stream has none; must not block or raise."""


class ReplyStream:
    """The events of one reply, from `start`.

    position: units so far. weight: of what this process has received from a provider (see `protocol/events.py`). cut: the
    position where the reply ends for its readers, once a stop has named one. ended: the ending has been saved and is the
    last event. dismissed: readers must leave without an ending, and reconnect. is_authoritative: True if this process writes
    the reply, so a larger position is invalid. False for a follower, which may lag behind. readers: those for which the
    reply goes on. observers: those for which it does not, as staff. answered: how many events there were when the run of
    this process took the reply over, which had waited for an answer; 0 for any other reply.
    """

    __slots__ = (
        "_is_closed",
        "_on_follow",
        "answered",
        "cut",
        "dismissed",
        "ended",
        "events",
        "is_authoritative",
        "loop",
        "message_id",
        "observers",
        "position",
        "readers",
        "weight",
    )

    def __init__(
        self,
        message_id: uuid.UUID,
        loop: asyncio.AbstractEventLoop | None,
        *,
        is_authoritative: bool = True,
        on_follow: Callable[[bool], None] | None = None,
    ) -> None:
        """on_follow: called with True when the first reader comes, with False when the last one has left."""
        self.message_id = message_id
        self.loop = loop
        self.is_authoritative = is_authoritative
        self.events: list[Event] = []
        self.position = self.weight = self.answered = 0
        self.cut: int | None = None
        self.ended = False
        self.dismissed = False
        # Tuples, since most have one and none: two sets take 0.4 KB.
        self.readers: tuple[Waiter, ...] = ()
        self.observers: tuple[Waiter, ...] = ()
        self._is_closed = False
        self._on_follow = on_follow

    @property
    def has_content(self) -> bool:
        """Whether there is more than the start and sources."""
        return any(event.kind not in NO_CONTENT for event in self.events)

    @property
    def is_waiting(self) -> bool:
        """Whether it goes on only once a person has answered."""
        return len(self.events) > self.answered and self.events[-1].kind == APPROVAL

    def append(self, new: Iterable[Event]) -> None:
        """Add events and notify the readers. Once the stream is closed, events are dropped. In the stream's loop."""
        if self._is_closed:
            return
        for event in new:
            kind, payload = event
            # The position first: a reader in another thread must never be ahead of it.
            self.position += len(payload) if kind in DELTAS else event.size
            self.events.append(event)
        self.notify()

    def hand_over(self, on_follow: Callable[[bool], None]) -> None:
        """Let a follower fill it from now on, as this process no longer writes the reply. In the stream's loop."""
        self.is_authoritative = False
        self._on_follow = on_follow
        if self.readers:
            on_follow(True)

    def call_in_loop(self, call: Callable[..., object], *arguments: object) -> None:
        """Make a call in its loop, unless that is closed."""
        if self.loop is not None:
            call_in_loop(self.loop, call, *arguments)

    def close(self) -> None:
        """Accept nothing more but the ending. In the stream's loop."""
        self._is_closed = True

    def end(self, payload: dict[str, Any]) -> None:
        """Add the ending, once, and notify the readers. In the stream's loop."""
        if not self.ended:
            self._is_closed = True
            self.events.append(Event(END, payload))
            self.ended = True
            # Without this, a run and its stream would be a cycle, which only the collector frees.
            self._on_follow = None
            self.notify()

    def cut_at(self, position: int) -> None:
        """End the reply here for its readers. `start` is always left."""
        self.cut = max(position, 1)

    def dismiss(self) -> None:
        """Send the readers away: this process ends, and has no ending for them. In the stream's loop."""
        self.dismissed = True
        self.notify()

    def notify(self) -> None:
        """Have the readers look again. In the stream's loop."""
        for reader in self.readers:
            reader.wake()
        for observer in self.observers:
            observer.wake()

    def attach(self, waiter: Waiter, *, keeps_alive: bool = True) -> None:
        """Wake this waiter at each change from now on. From any thread. keeps_alive: whether the reply goes on for it."""
        if self.loop is None or running_loop() is self.loop:
            self._attach(waiter, keeps_alive)
        else:
            call_in_loop(self.loop, self._attach, waiter, keeps_alive)

    def detach(self, waiter: Waiter, seconds: float = 0) -> None:
        """Forget this waiter, and end its wait. From any thread, however often. seconds: for which it still counts.

        Never at once if there is a loop: the collector may call it while the readers are notified.
        """
        detach = partial(self._detach_after, seconds) if seconds else self._detach
        if self.loop is None:
            detach(waiter)
        else:
            call_in_loop(self.loop, detach, waiter)

    def wait_until_ended(self) -> bool:
        """Block a thread, not the stream's loop, until the ending is here.

        False if the readers were dismissed, or the reply waits for an answer.
        """
        waiter = ThreadWaiter()
        self.attach(waiter)
        try:
            while not (self.ended or self.dismissed or self.is_waiting):
                waiter.wait()
                waiter.clear()
        finally:
            self.detach(waiter)
        return self.ended

    def locate(self, position: int) -> tuple[int, int] | None:
        """Return the index of the event that holds a position, and how many of its units precede it; None: not here yet.

        By the events alone: for a reader in another thread, `position` already counts one that is just being added.
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

    def _attach(self, waiter: Waiter, keeps_alive: bool) -> None:
        if keeps_alive:
            is_first = not self.readers
            self.readers = (*self.readers, waiter)
            if is_first and self._on_follow:
                self._on_follow(True)
        else:
            self.observers = (*self.observers, waiter)
        # For what came between the reader's last look and now.
        waiter.wake()

    def _detach(self, waiter: Waiter) -> None:
        if waiter in self.observers:
            self.observers = _without(waiter, self.observers)
            waiter.wake()
        if waiter in self.readers:
            self.readers = _without(waiter, self.readers)
            waiter.wake()
            if not self.readers and self._on_follow:
                self._on_follow(False)

    def _detach_after(self, seconds: float, waiter: Waiter) -> None:
        if self.loop is None:
            self._detach(waiter)
        else:
            self.loop.call_later(seconds, self._detach, waiter)


def _without(waiter: Waiter, waiters: tuple[Waiter, ...]) -> tuple[Waiter, ...]:
    return tuple(other for other in waiters if other is not waiter)


class LoopWaiter:
    """Waits inside an event loop: one future per wait, no lock, no queue."""

    __slots__ = ("_future", "_loop", "_stream_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, stream_loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._stream_loop = stream_loop
        self._future: asyncio.Future[None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a wait is under way."""
        return self._future is not None and not self._future.done()

    def wake(self) -> None:
        """End the wait under way, if any. In the stream's loop."""
        if self._stream_loop is self._loop:
            self.wake_here()
        else:
            call_in_loop(self._loop, self.wake_here)

    def wake_here(self) -> None:
        """End the wait under way, if any. In the waiter's own loop."""
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        """Return what the next wake ends. Nothing may be awaited between looking for events and awaiting it."""
        self._future = future = self._loop.create_future()
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
