"""A few threads for the synchronous code of all requests, shared out between their clients."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from .protocol import Application, Receive, Scope, Send

# On, for 0 seconds: closing then sends RST, and the kernel keeps nothing for the client.
_NO_LINGER = struct.pack("ii", 1, 0)


class SharedThreads:
    """Runs an application's synchronous code on a few threads, each request on one of them."""

    def __init__(self, application: Application, threads: int = 4) -> None:
        # Models can be imported only after Django's setup.
        from streaming_chat.views.known_clients import known_clients

        self._application = application
        self._client_of = known_clients.client_of
        # Least recently chosen first.
        self._threads = [_RequestThread(number) for number in range(threads)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        try:
            client = self._client_of(scope)
            waiting = _WaitingRequest(self._choose_thread(client), client, send)
            try:
                async with ThreadSensitiveContext(executor=waiting.thread):
                    await self._application(scope, receive, waiting.send)
            finally:
                waiting.leave()
        finally:
            await _reset_unfinished(getattr(send, "__self__", None))

    def _choose_thread(self, client: str) -> _RequestThread:
        """Return the one with the least to do: another may wait for a locked row."""
        its_own = [thread for thread in self._threads if client and client in thread.clients]
        has_its_share = len(its_own) >= max(1, len(self._threads) // 2)
        thread = min(its_own if has_its_share else self._threads, key=_RequestThread.waiting_calls)
        self._threads.remove(thread)
        self._threads.append(thread)
        return thread


class _RequestThread(ThreadPoolExecutor):
    """One thread: a request's synchronous code must stay on the thread that has its database connections."""

    def __init__(self, number: int) -> None:
        super().__init__(1, thread_name_prefix=f"streaming_chat.request{number}")
        self._calls: set[Future[Any]] = set()
        # How many requests of each client wait on it. Used in the event loop only.
        self.clients: Counter[str] = Counter()

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        call: Future[Any] = super().submit(*args, **kwargs)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def waiting_calls(self) -> int:
        """Return how many calls run or wait."""
        return len(self._calls)


class _WaitingRequest:
    """Counts a request on its thread until its response starts. Then its work on the thread is done."""

    def __init__(self, thread: _RequestThread, client: str, send: Send) -> None:
        self.thread = thread
        self._client = client
        self._send = send
        self._is_waiting = True
        thread.clients[client] += 1

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message of the response."""
        if self._is_waiting:
            self.leave()
        await self._send(message)

    def leave(self) -> None:
        """Stop counting it. It may be called again."""
        if not self._is_waiting:
            return
        self._is_waiting = False
        self.thread.clients[self._client] -= 1
        if not self.thread.clients[self._client]:
            del self.thread.clients[self._client]


async def _reset_unfinished(cycle: Any) -> None:
    """Reset the connection of a response that was left in the middle and whose client does not read what was sent.

    cycle: uvicorn's request cycle, read by the names of its attributes; for other servers nothing is done.
    """
    transport = getattr(cycle, "transport", None)
    is_unfinished = getattr(cycle, "response_started", False) and not getattr(cycle, "response_complete", True)
    if transport is None or not is_unfinished or transport.is_closing() or not transport.get_write_buffer_size():
        return
    if (connection := transport.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    # The server notices, and does not log a response that its application has not completed.
    await asyncio.sleep(0)
