"""Readers: whoever follows a reply, at a position, in one wire format. No HTTP.

An iterator class, not an async generator: when a client leaves while Django sends, an async generator is not closed until
the cyclic collector comes by. Nothing is awaited in cleanup.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable

from .conf import conf
from .encoders import Encoder
from .events import DELTAS, END, Event
from .streams import LoopWaiter, ReplyStream, ThreadWaiter

# At most so much in one write: Django cuts a write at 65,536 bytes, and a frame must not be cut. A code point is at most
# 12 bytes of JSON ("\ud83d\ude00"), a frame's other fields about 100.
_WRITE_CODE_POINTS = 2_048
_WRITE_EVENTS = 384


class Cursor:
    """Where a reader is in a stream, and what it is to be sent next."""

    __slots__ = ("_encoder", "_index", "_located", "_position", "_skip", "_stream", "finished")

    def __init__(self, stream: ReplyStream, encoder: Encoder, position: int = 0) -> None:
        self._stream = stream
        self._encoder = encoder
        self._position = position
        self._index, self._skip = stream.locate(position)
        self._located = position <= stream.position
        self.finished = False

    def next(self) -> bytes:
        """Return the next write; b"" when there is nothing new."""
        if self.finished:
            return b""
        stream = self._stream
        events = stream.events
        if not self._located or self._skip or stream.cut is not None:
            return self._next_carefully()
        if self._index == len(events):
            return b""
        event = events[self._index]
        if self._index + 1 == len(events) and event.kind in DELTAS and len(event.payload) <= _WRITE_CODE_POINTS:
            # The usual token of a live reply.
            written = self._encoder.encode([event], self._position)
            self._position += len(event.payload)
            self._index += 1
            return written
        return self._next_carefully()

    def _next_carefully(self) -> bytes:
        stream = self._stream
        if self._is_past(stream):
            if not stream.whole and not stream.ended:
                # A tail lags behind the process that gave this position out.
                return b""
            if stream.cut is not None and not stream.ended:
                return b""
            self._position = self._index = self._skip = 0
            self._located = True
            return self._encoder.reset()
        if not self._located:
            self._index, self._skip = stream.locate(self._position)
            self._located = True
        taken = self._take()
        if taken:
            written = self._encoder.encode(taken, self._position)
            self._position += sum(event.size for event in taken)
            return written
        if stream.ended:
            self.finished = True
            return self._encoder.end(stream.events[-1].payload)
        return b""

    def _is_past(self, stream: ReplyStream) -> bool:
        limit = stream.position if stream.cut is None else min(stream.cut, stream.position)
        return self._position > limit

    def _take(self) -> list[Event]:
        """Return at most one write's worth of events from here to the cut, and move past them."""
        events, cut = self._stream.events, self._stream.cut
        room = _WRITE_CODE_POINTS
        if cut is not None:
            room = min(room, cut - self._position)
        taken: list[Event] = []
        while room > 0 and self._index < len(events) and len(taken) < _WRITE_EVENTS:
            event = events[self._index]
            if event.kind == END:
                break
            if event.kind in DELTAS:
                text = event.payload[self._skip : self._skip + room]
                taken.append(Event(event.kind, text))
                room -= len(text)
                if self._skip + len(text) < len(event.payload):
                    self._skip += len(text)
                    continue
            else:
                size = len(str(event.payload))
                if taken and size > room:
                    break
                taken.append(event)
                room -= size
            self._index += 1
            self._skip = 0
        return taken


class Reader:
    """Follows a reply in an event loop, as an async iterator of writes, from its first read on.

    Not from when it is made: a response that is dropped in a cycle with an exception is never closed, and collected late.
    opened: awaited before the first write, in the caller's context; its errors are the reader's. count: called at the
    first read; what it returns is called when the reader leaves.
    """

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int = 0,
        *,
        opened: Callable[[], Awaitable[object]] | None = None,
        count: Callable[[], Callable[[], object]] | None = None,
    ) -> None:
        self._stream = stream
        self._cursor = Cursor(stream, encoder, position)
        self._heartbeat = encoder.heartbeat
        self._opened = opened
        self._count = count
        self._closed: Callable[[], object] | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter = LoopWaiter(self._loop, stream.loop or self._loop)
        self._last_write = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._beat_due = False
        self._is_open = True
        self._has_begun = False

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        """Return the next write. Raises StopAsyncIteration after the ending."""
        try:
            if not self._has_begun and self._is_open:
                await self._begin()
            while True:
                written = self._cursor.next()
                if written:
                    self._last_write = self._loop.time()
                    return written
                if self._cursor.finished or not self._is_open:
                    self.close()
                    raise StopAsyncIteration
                if self._beat_due:
                    self._beat_due = False
                    self._last_write = self._loop.time()
                    return self._heartbeat
                await self._waiter.wait()
        except asyncio.CancelledError:
            self.close()
            raise

    async def until_ended(self, seconds: float | None = None) -> bool:
        """Wait for the ending without reading; False when it took longer."""
        try:
            async with asyncio.timeout(seconds):
                if not self._has_begun:
                    await self._begin()
                while not self._stream.ended:
                    await self._waiter.wait()
        except TimeoutError:
            return self._stream.ended
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Leave the reply. From any thread, however often: Django calls it from a pool's, or never."""
        if not self._is_open:
            return
        self._is_open = False
        self._stream.detach(self._waiter)
        if self._closed is not None:
            self._closed()
        if self._timer is not None:
            try:
                self._loop.call_soon_threadsafe(self._timer.cancel)
            except RuntimeError:
                return

    async def aclose(self) -> None:
        """Leave the reply."""
        self.close()

    def __del__(self) -> None:
        # A response that is dropped before it is sent (a middleware raised, the client left) is never closed by Django.
        if getattr(self, "_is_open", False):
            self.close()

    async def _begin(self) -> None:
        self._has_begun = True
        self._stream.attach(self._waiter)
        self._arm()
        if self._count is not None:
            self._closed = self._count()
        if self._opened is not None:
            await self._opened()

    def _arm(self) -> None:
        """One timer a reader, set again only when it fires: a token costs it nothing."""
        if self._heartbeat:
            seconds = conf.STREAMING_CHAT_HEARTBEAT_SECONDS
            self._timer = self._loop.call_at(self._last_write + seconds, _beat, weakref.ref(self), seconds)


def _beat(reference: weakref.ref[Reader], seconds: float) -> None:
    """Make a reader that has waited so long send its heartbeat, and come back when the next may be due."""
    reader = reference()
    if reader is None or not reader._is_open:
        return
    loop = reader._loop
    due = reader._last_write + seconds
    if loop.time() >= due - 0.001:
        reader._beat_due = reader._waiter.is_waiting
        reader._waiter.wake_here()
        due = loop.time() + seconds
    reader._timer = loop.call_at(due, _beat, reference, seconds)


class BlockingReader:
    """Follows a reply in a thread, as an iterator of writes.

    between: called between reads, at least every half second; it saves where there is no writer to do so.
    """

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int = 0,
        *,
        opened: Callable[[], object] | None = None,
        between: Callable[[], object] | None = None,
        count: Callable[[], Callable[[], object]] | None = None,
    ) -> None:
        self._stream = stream
        self._cursor = Cursor(stream, encoder, position)
        self._heartbeat = encoder.heartbeat
        self._opened = opened
        self._between = between
        self._closed = count() if count is not None else None
        self._waiter = ThreadWaiter()
        self._is_open = True
        stream.attach(self._waiter)

    def __iter__(self) -> BlockingReader:
        return self

    def __next__(self) -> bytes:
        """Return the next write. Raises StopIteration after the ending."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened()
        beat_at = time.monotonic() + conf.STREAMING_CHAT_HEARTBEAT_SECONDS
        while True:
            # Cleared before looking, so that what comes after the look ends the wait.
            self._waiter.clear()
            written = self._cursor.next()
            if written:
                return written
            if self._cursor.finished or not self._is_open:
                self.close()
                raise StopIteration
            if self._heartbeat and time.monotonic() >= beat_at:
                return self._heartbeat
            if self._between is not None:
                self._between()
            self._waiter.wait(min(0.5, max(beat_at - time.monotonic(), 0.01)))

    def until_ended(self, seconds: float | None = None) -> bool:
        """Wait for the ending without reading; False when it took longer."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._stream.ended and (deadline is None or time.monotonic() < deadline):
            self._waiter.clear()
            if self._between is not None:
                self._between()
            if not self._stream.ended:
                self._waiter.wait(0.5 if deadline is None else max(min(0.5, deadline - time.monotonic()), 0.01))
        self.close()
        return self._stream.ended

    def close(self) -> None:
        """Leave the reply, however often."""
        if self._is_open:
            self._is_open = False
            self._stream.detach(self._waiter)
            if self._closed is not None:
                self._closed()

    def __del__(self) -> None:
        if getattr(self, "_is_open", False):
            self.close()
