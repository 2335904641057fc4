"""Readers: each follows one reply from a position, in one wire format. No HTTP.

Iterator classes, not generators: when a client leaves while Django sends, an async generator is not closed until the
cyclic collector comes by. Nothing is awaited in cleanup.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted

from streaming_chat.conf import conf
from streaming_chat.encoders import Encoder
from streaming_chat.protocol.endings import FAILED

from .cursor import Cursor, DeniedCursor
from .event_loops import call_in_loop
from .slow_clients import SendWatch
from .stream import LoopWaiter, ReplyStream, ThreadWaiter, Waiter
from .writer import writer

# When this process ends a stream early, its client reconnects after `retry`, a second: later only if all workers are busy.
RECONNECT_SECONDS = 30.0
# A blocking reader looks at least this often for a reply that it has to save itself.
_LONGEST_WAIT_SECONDS = 0.5
_SHORTEST_WAIT_SECONDS = 0.01
# A blocking reader holds a thread, which is too much for the hours that a person may take to answer.
_ANSWER_SECONDS = 20.0
# A reader that is far behind lets others have their turn, also where `send` never waits.
_WRITES_PER_TURN = 8
# Django's ASGI handler sends a longer write in pieces of this size (ASGIHandler.chunk_bytes).
_PIECE_BYTES = 65_536
# Django 6.1 sends in the server's own task, earlier versions in one of Django's.
_SENDS_IN_SERVER_TASK = django.VERSION >= (6, 1)

_save_in_transaction = sync_to_async(writer.save_in_transaction)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class OnePiece(bytes):
    """A write that Django's ASGI handler sends whole, however long it is: a large tool call.

    The handler asks for the length and slices pieces of 65,536 bytes. This says that it is no longer than one piece, and
    a slice is all of it. For that handler only: a server writes the length that it is told before the bytes.
    """

    def __len__(self) -> int:
        return min(super().__len__(), _PIECE_BYTES)

    def __getitem__(self, key: Any) -> Any:
        return bytes(self) if isinstance(key, slice) else super().__getitem__(key)


class _BaseReader:
    """What readers share, however they wait: a place in a stream, and among its readers and those of this process.

    register: called with the reader when it subscribes; returns a function that unregisters it, which is called when it
    leaves. keeps_alive: whether the reply goes on for this reader. is_open: it has not left the reply yet. denial: the error
    code with which access was denied, "" while the reader may read.
    """

    is_open = False
    _waiter: Waiter

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int,
        *,
        register: Callable[[Any], Callable[[], object]] | None,
        keeps_alive: bool,
    ) -> None:
        self.message_id = stream.message_id
        self.denial = ""
        self._stream = stream
        self._encoder = encoder
        self._cursor: Cursor | DeniedCursor = Cursor(stream, encoder, position)
        self._register = register
        self._keeps_alive = keeps_alive
        self._unregister: Callable[[], object] | None = None
        self.is_open = True

    def __del__(self) -> None:
        # A response that is dropped before it is sent (a middleware raised, the client left) is never closed by Django.
        self.close()

    def close(self) -> None:
        """Leave the reply. From any thread, however often: Django calls it from a pool's, or never."""
        self._leave()

    def _subscribe(self) -> None:
        self._stream.attach(self._waiter, keeps_alive=self._keeps_alive)
        if self._register is not None:
            self._unregister = self._register(self)
            self._register = None

    def _leave(self, seconds: float = 0) -> bool:
        """Leave; True the first time. seconds: for which the stream still counts the reader."""
        if not self.is_open:
            return False
        self.is_open = False
        self._stream.detach(self._waiter, seconds)
        if self._unregister is not None:
            self._unregister()
        return True

    def _deny(self, code: str) -> None:
        self.denial = code
        self._cursor = DeniedCursor(self._encoder, code)

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is sent."""
        return self._cursor.finished or not self.is_open or self._stream.dismissed

    @property
    def _has_ending(self) -> bool:
        """Whether there is nothing to wait for, but perhaps a person's answer."""
        return self._stream.ended or self._stream.dismissed or bool(self.denial) or self._stream.is_waiting

    @property
    def _has_content(self) -> bool:
        return self._has_ending or self._stream.has_content

    def _early_failure(self) -> dict[str, Any] | None:
        """Return the ending of a reply that failed without any content."""
        if not self._stream.ended or self._stream.has_content:
            return None
        payload: dict[str, Any] = self._stream.events[-1].payload
        return payload if payload["status"] == FAILED else None


class Reader(_BaseReader):
    """Follows a reply in an event loop: sends it as the body of an ASGI response, or is an async iterator of writes.

    It subscribes at its first read, not when it is made: a response that is dropped in a cycle with an exception is never
    closed, and collected late. A client that takes SEND_TIMEOUT_SECONDS for one write is disconnected: the task that
    sends is cancelled.

    loop: where it is read; the running one, unless it is made in a thread. on_open: awaited before the first write, in the
    caller's context; its errors are the reader's. last_write_at: by the loop's clock.
    """

    _waiter: LoopWaiter

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int = 0,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        on_open: Callable[[], Awaitable[object]] | None = None,
        register: Callable[[Reader], Callable[[], object]] | None = None,
        keeps_alive: bool = True,
    ) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._waiter = LoopWaiter(self._loop, stream.loop or self._loop)
        super().__init__(stream, encoder, position, register=register, keeps_alive=keeps_alive)
        self._on_open = on_open
        self._watch = SendWatch(self, self._loop, sends_heartbeats=bool(encoder.heartbeat))
        self._task: asyncio.Task[object] | None = None
        self._is_heartbeat_due = False
        self._is_disconnected = False
        self.last_write_at = self._loop.time()

    async def send_to(self, send: Send) -> None:
        """Send the reply as the body of an ASGI response whose start has been sent, and leave.

        Raises what `send` raises, and RequestAborted for a client that took too long.
        """
        try:
            if self.is_open:
                await self._begin()
            has_more, writes = True, 0
            while has_more:
                written = self._next_write()
                if written is None and not self._is_over:
                    await self._waiter.wait()
                    continue
                has_more = written is not None and not self._cursor.finished
                await send({"type": "http.response.body", "body": written or b"", "more_body": has_more})
                writes += 1
                if has_more and not writes % _WRITES_PER_TURN:
                    await asyncio.sleep(0)
        finally:
            self.close()
            self._survive_disconnection()

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        """Return the next write. Raises StopAsyncIteration after the ending."""
        try:
            if self._task is None and self.is_open:
                await self._begin()
            while (written := self._next_write()) is None:
                if self._is_over:
                    self.close()
                    raise StopAsyncIteration
                await self._waiter.wait()
        except asyncio.CancelledError:
            self.close()
            raise
        return written if len(written) <= _PIECE_BYTES else OnePiece(written)

    async def until_ended(self, seconds: float | None = None) -> bool:
        """Wait for the ending without reading; False when it took longer, or access was denied."""
        try:
            async with asyncio.timeout(seconds):
                if self._task is None:
                    await self._open()
                while not self._has_ending:
                    await self._wait_in_view()
        except TimeoutError:
            # The client asks again for the rest.
            self._leave(RECONNECT_SECONDS)
        finally:
            self.close()
        return self._stream.ended

    async def until_content(self, seconds: float) -> dict[str, Any] | None:
        """Wait for the first text, reasoning or tool call, so many seconds at most, and stay a reader.

        Return the ending of a reply that failed before that, None for any other.
        """
        try:
            async with asyncio.timeout(seconds):
                if self._task is None:
                    await self._open()
                while not self._has_content:
                    await self._wait_in_view()
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self.close()
            raise
        return self._early_failure()

    @property
    def is_waiting(self) -> bool:
        """Whether everything has been sent, and it waits for more."""
        return self._waiter.is_waiting

    def deny(self, code: str) -> None:
        """End it, not the reply, with an ending `failed` of this error code. From any thread."""
        self._deny(code)
        call_in_loop(self._loop, self._waiter.wake_here)

    def send_heartbeat(self) -> None:
        """Send a heartbeat, if nothing else comes first. In the loop."""
        self._is_heartbeat_due = True
        self._waiter.wake_here()

    def disconnect(self) -> None:
        """Leave, and cancel the task that waits for a client that reads nothing: it would wait as long as the client."""
        task = self._task
        self.close()
        if task is not None:
            self._is_disconnected = True
            task.cancel()

    async def aclose(self) -> None:
        """Leave the reply. Raises RequestAborted where disconnecting would otherwise end more than the response."""
        self.close()
        if _SENDS_IN_SERVER_TASK:
            self._survive_disconnection()

    def _survive_disconnection(self) -> None:
        task = asyncio.current_task()
        if self._is_disconnected and task is not None:
            # The cancellation was ours and has done its work; Django takes this for a client that has left.
            self._is_disconnected = False
            task.uncancel()
            raise RequestAborted

    async def _wait_in_view(self) -> None:
        """Wait for a change, before there is a response.

        If the reply is in a transaction of this request's thread, nothing but the view may reach that thread: a synchronous
        middleware keeps it for the view.
        """
        if not writer.saves_in_transaction(self.message_id):
            await self._waiter.wait()
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiter.wait(), _SHORTEST_WAIT_SECONDS)
        await _save_in_transaction()

    async def _begin(self) -> None:
        await self._open()
        self._watch.look()

    async def _open(self) -> None:
        self._task = asyncio.current_task()
        self._subscribe()
        if self._on_open is not None:
            await self._on_open()
        self.last_write_at = self._loop.time()

    def _next_write(self) -> bytes | None:
        """Return the next write; None if there is nothing to send now."""
        written = self._cursor.next()
        while written == b"":
            written = self._cursor.next()
        if written is None and self._is_heartbeat_due and not self._is_over:
            written = self._encoder.heartbeat
            self._is_heartbeat_due = False
        if written is not None:
            self.last_write_at = self._loop.time()
        return written

    def _leave(self, seconds: float = 0) -> bool:
        if is_first := super()._leave(seconds):
            self._task = None
            self._watch.stop()
        return is_first


class BlockingReader(_BaseReader):
    """Follows a reply in a thread, as an iterator of writes. It subscribes at once.

    on_open: called before the first write. seconds: after which it stops without an ending, so that the client
    reconnects; None for never.
    """

    _waiter: ThreadWaiter

    def __init__(
        self,
        stream: ReplyStream,
        encoder: Encoder,
        position: int = 0,
        *,
        on_open: Callable[[], object] | None = None,
        register: Callable[[BlockingReader], Callable[[], object]] | None = None,
        keeps_alive: bool = True,
        seconds: float | None = None,
    ) -> None:
        self._waiter = ThreadWaiter()
        super().__init__(stream, encoder, position, register=register, keeps_alive=keeps_alive)
        self._on_open = on_open
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._subscribe()

    def __iter__(self) -> BlockingReader:
        return self

    def __next__(self) -> bytes:
        """Return the next write. Raises StopIteration after the ending."""
        self._open()
        heartbeat_at = time.monotonic() + conf.STREAMING_CHAT_HEARTBEAT_SECONDS
        while True:
            if time.monotonic() >= self._deadline:
                self._leave(RECONNECT_SECONDS)
                raise StopIteration
            # Cleared before looking, so that what comes after the look ends the wait.
            self._waiter.clear()
            written = self._cursor.next()
            if written:
                return written
            if written is not None:
                continue
            if self._is_over:
                self.close()
                raise StopIteration
            if self._encoder.heartbeat and time.monotonic() >= heartbeat_at:
                return self._encoder.heartbeat
            if self._stream.is_waiting:
                self._deadline = min(self._deadline, time.monotonic() + _ANSWER_SECONDS)
            self._wait_until(min(heartbeat_at, self._deadline))

    def until_ended(self, seconds: float | None = None) -> bool:
        """Wait for the ending without reading; False when it took longer, or access was denied."""
        self._open()
        deadline = self._deadline if seconds is None else min(self._deadline, time.monotonic() + seconds)
        while not self._has_ending and time.monotonic() < deadline:
            self._waiter.clear()
            if not self._has_ending:
                self._wait_until(deadline)
        if time.monotonic() >= deadline:
            self._leave(RECONNECT_SECONDS)
        self.close()
        return self._stream.ended

    def until_content(self, seconds: float) -> dict[str, Any] | None:
        """Do the same as `Reader.until_content`, in the thread."""
        self._open()
        deadline = min(self._deadline, time.monotonic() + seconds)
        while not self._has_content and time.monotonic() < deadline:
            self._waiter.clear()
            if not self._has_content:
                self._wait_until(deadline)
        return self._early_failure()

    def deny(self, code: str) -> None:
        """End it, not the reply, with an ending `failed` of this error code. From any thread."""
        self._deny(code)
        self._waiter.wake()

    def _open(self) -> None:
        if self._on_open is not None:
            on_open, self._on_open = self._on_open, None
            on_open()

    def _wait_until(self, deadline: float) -> None:
        # A reply whose rows are in this thread's transaction is saved by nobody else.
        writer.save_in_transaction()
        left = deadline - time.monotonic()
        self._waiter.wait(min(_LONGEST_WAIT_SECONDS, max(left, _SHORTEST_WAIT_SECONDS)))
