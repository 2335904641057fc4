"""Readers: whoever follows a reply, at a position, in one wire format. No HTTP.

An iterator class, not an async generator: when a client leaves while Django sends, an async generator is not closed until
the cyclic collector comes by. Nothing is awaited in cleanup.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
import weakref
from collections.abc import Awaitable, Callable

import django
from django.core.exceptions import RequestAborted

from streaming_chat.conf import conf
from streaming_chat.encoders import Encoder
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending

from .cursor import Cursor, OnePiece
from .stream import LoopWaiter, ReplyStream, ThreadWaiter
from .writer import writer

# A reader is cut when it is seen stalled twice: a loop that was busy for so long has not sent either.
_SECOND_LOOK_SECONDS = 1.0
# A client whose stream, or wait, was ended by us is back after `retry`, a second, unless all workers are busy for a while.
_RETURN_SECONDS = 30.0
# Django 6.1 sends in the server's own task, before in one of its own.
_SENDS_IN_SERVER_TASK = django.VERSION >= (6, 1)


class _Refusal:
    """In a cursor's place: one ending, in place of what there is still to tell."""

    __slots__ = ("_code", "_encoder", "finished")

    def __init__(self, encoder: Encoder, code: str) -> None:
        self._encoder = encoder
        self._code = code
        self.finished = False

    def next(self) -> bytes | None:
        """Return the ending, once; in the reader's context, so that it is in the reader's language."""
        if self.finished:
            return None
        self.finished = True
        return self._encoder.end(endings.payload(Ending(endings.FAILED, error_code=self._code), "", None))


class Reader:
    """Follows a reply in an event loop, as an async iterator of writes, from its first read on.

    Not from when it is made: a response that is dropped in a cycle with an exception is never closed, and collected late.
    opened: awaited before the first write, in the caller's context; its errors are the reader's. count: called with the
    reader at the first read; what it returns is called when the reader leaves. keeps: whether the reply goes on for it.

    Whoever reads is cut when it takes SEND_TIMEOUT_SECONDS from one write to asking for the next: its task is cancelled.
    """

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int = 0,
        *,
        opened: Callable[[], Awaitable[object]] | None = None,
        count: Callable[[Reader], Callable[[], object]] | None = None,
        keeps: bool = True,
    ) -> None:
        self.message_id: uuid.UUID = stream.message_id
        self._stream = stream
        self._encoder = encoder
        self._cursor: Cursor | _Refusal = Cursor(stream, encoder, position, write=OnePiece)
        self._heartbeat = encoder.heartbeat
        self._opened = opened
        self._count = count
        self._keeps = keeps
        self._closed: Callable[[], object] | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter = LoopWaiter(self._loop, stream.loop or self._loop)
        self._last_write = self._loop.time()
        self._stalled_write = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._beat_due = False
        self._is_open = True
        self._is_cut = False
        self._has_begun = False
        # The error code with which it was refused.
        self.refused = ""

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
                if written is not None:
                    continue
                if self._cursor.finished or not self._is_open or self._stream.dismissed:
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
        """Wait for the ending without reading; False when it took longer, or the reader was refused."""
        try:
            async with asyncio.timeout(seconds):
                if not self._has_begun:
                    await self._begin(sends=False)
                while not (self._stream.ended or self._stream.dismissed or self.refused):
                    await self._waiter.wait()
        except TimeoutError:
            # Whoever asked is to come back for the rest.
            self._leave(_RETURN_SECONDS)
            return self._stream.ended
        finally:
            self.close()
        return self._stream.ended

    def refuse(self, code: str) -> None:
        """End it, not the reply, with an ending `failed` of this error code. From any thread."""
        self.refused = code
        self._cursor = _Refusal(self._encoder, code)
        self._in_loop(self._waiter.wake_here)

    def close(self) -> None:
        """Leave the reply. From any thread, however often: Django calls it from a pool's, or never."""
        self._leave(0)

    async def aclose(self) -> None:
        """Leave the reply. Raises RequestAborted where a cut would otherwise end more than the response."""
        self.close()
        if self._is_cut and _SENDS_IN_SERVER_TASK and (task := asyncio.current_task()) is not None:
            # The cancelling was ours and has done its work; Django takes this for a client that has left.
            self._is_cut = False
            task.uncancel()
            raise RequestAborted

    def __del__(self) -> None:
        # A response that is dropped before it is sent (a middleware raised, the client left) is never closed by Django.
        if getattr(self, "_is_open", False):
            self.close()

    async def _begin(self, *, sends: bool = True) -> None:
        self._has_begun = True
        self._task = asyncio.current_task()
        self._stream.attach(self._waiter, keeps=self._keeps)
        if self._count is not None:
            self._closed = self._count(self)
        if self._opened is not None:
            await self._opened()
        self._last_write = self._loop.time()
        if sends and self._is_open:
            _look(weakref.ref(self))

    def _leave(self, seconds: float) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._stream.detach(self._waiter, seconds)
        self._task = None
        if self._closed is not None:
            self._closed()
        if self._timer is not None:
            self._in_loop(self._timer.cancel)

    def _look(self) -> float:
        """Make it send a heartbeat after a silence, cut it when it is stalled; return when to look again."""
        now, patience = self._loop.time(), conf.STREAMING_CHAT_SEND_TIMEOUT_SECONDS
        due = now + patience
        if self._waiter.is_waiting:
            self._stalled_write = 0.0
        else:
            # It is sending, or about to read on.
            due = self._last_write + patience
            if now >= due:
                due = now + min(_SECOND_LOOK_SECONDS, patience)
                if self._stalled_write == self._last_write:
                    self._cut()
                self._stalled_write = self._last_write
        return min(due, self._look_at_silence(now)) if self._heartbeat else due

    def _look_at_silence(self, now: float) -> float:
        seconds = conf.STREAMING_CHAT_HEARTBEAT_SECONDS
        beat_at = self._last_write + seconds
        if now < beat_at - 0.001:
            return beat_at
        if self._waiter.is_waiting:
            self._beat_due = True
            self._waiter.wake_here()
        return now + seconds

    def _cut(self) -> None:
        """Leave, and cancel the task that waits for a client that takes nothing: it would wait as long as the client."""
        task = self._task
        self.close()
        if task is not None:
            self._is_cut = True
            task.cancel()

    def _in_loop(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed, and nobody waits in it.
            return


def _look(reference: weakref.ref[Reader]) -> None:
    """Look at a reader, and come back when the next may be due: one timer a reader, a token costs it nothing."""
    reader = reference()
    if reader is not None and reader._is_open:
        reader._timer = reader._loop.call_at(reader._look(), _look, reference)


class BlockingReader:
    """Follows a reply in a thread, as an iterator of writes.

    count, keeps: as in `Reader`, count called at once.
    seconds: after which it ends without an ending, for the client to come back; None for never.
    """

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int = 0,
        *,
        opened: Callable[[], object] | None = None,
        count: Callable[[BlockingReader], Callable[[], object]] | None = None,
        seconds: float | None = None,
        keeps: bool = True,
    ) -> None:
        self.message_id: uuid.UUID = stream.message_id
        self._stream = stream
        self._encoder = encoder
        self._cursor: Cursor | _Refusal = Cursor(stream, encoder, position)
        self._heartbeat = encoder.heartbeat
        self._opened = opened
        self._waiter = ThreadWaiter()
        self._leave_at = math.inf if seconds is None else time.monotonic() + seconds
        self._is_open = True
        self.refused = ""
        self._closed = count(self) if count is not None else None
        stream.attach(self._waiter, keeps=keeps)

    def __iter__(self) -> BlockingReader:
        return self

    def __next__(self) -> bytes:
        """Return the next write. Raises StopIteration after the ending."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened()
        beat_at = time.monotonic() + conf.STREAMING_CHAT_HEARTBEAT_SECONDS
        while True:
            if time.monotonic() >= self._leave_at:
                self._pause()
                raise StopIteration
            # Cleared before looking, so that what comes after the look ends the wait.
            self._waiter.clear()
            written = self._cursor.next()
            if written:
                return written
            if written is not None:
                continue
            if self._cursor.finished or not self._is_open or self._stream.dismissed:
                self.close()
                raise StopIteration
            if self._heartbeat and time.monotonic() >= beat_at:
                return self._heartbeat
            writer.save_in_transaction()
            self._waiter.wait(min(0.5, max(min(beat_at, self._leave_at) - time.monotonic(), 0.01)))

    def until_ended(self, seconds: float | None = None) -> bool:
        """Wait for the ending without reading; False when it took longer, or the reader was refused."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened()
        deadline = self._leave_at if seconds is None else min(self._leave_at, time.monotonic() + seconds)
        while not (self._stream.ended or self._stream.dismissed or self.refused) and time.monotonic() < deadline:
            self._waiter.clear()
            writer.save_in_transaction()
            if not self._stream.ended:
                self._waiter.wait(max(min(0.5, deadline - time.monotonic()), 0.01))
        if time.monotonic() >= deadline:
            self._pause()
        self.close()
        return self._stream.ended

    def refuse(self, code: str) -> None:
        """End it, not the reply, with an ending `failed` of this error code. From any thread."""
        self.refused = code
        self._cursor = _Refusal(self._encoder, code)
        self._waiter.wake()

    def close(self) -> None:
        """Leave the reply, however often."""
        self._leave(0)

    def __del__(self) -> None:
        if getattr(self, "_is_open", False):
            self.close()

    def _pause(self) -> None:
        """Leave for a client that is to come back: until then the reply has a reader."""
        self._leave(_RETURN_SECONDS)

    def _leave(self, seconds: float) -> None:
        if self._is_open:
            self._is_open = False
            self._stream.detach(self._waiter, seconds)
            if self._closed is not None:
                self._closed()
