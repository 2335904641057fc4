"""An ASGI application whose requests share a few threads: for a site that keeps many replies open.

Django gives every request under ASGI a thread of its own to its end: 1,000 open replies are 1,000 threads. In your asgi.py:

    from streaming_chat.asgi import get_asgi_application

    application = get_asgi_application()

The synchronous code of all requests runs on these threads, one call at a time on each. A slow synchronous view, or a
synchronous middleware around a slow asynchronous view, delays the requests that share its thread. Needs asgiref 3.13.
With four, another page waits 59 ms while messages are sent, with two 150; eight send fewer (benchmarks/README.md).
The requests of one owner, or of one network address while the owner is not known, wait for half of the threads at most.

The health check is answered on the event loop, before Django and its middleware: it answers even if all threads are busy.

A body that is larger than the app accepts is refused before it is read: Django would write all of it to a temporary file,
before it asks who sent it. A body that has not arrived after BODY_SECONDS is no longer waited for. Views of your own are not
limited by this. Neither is a client that sends no request: a server calls its application when the headers are complete.

Under uvicorn it also resets the connection of a client that does not read (SEND_TIMEOUT_SECONDS). Under other servers
such a client's reply ends for it, too, but its connection stays open, with up to 64 KiB, until the client goes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.core import asgi
from django.core.exceptions import RequestAborted
from django.http import HttpResponse

# A megabyte in a minute is 140 kbit/s.
BODY_SECONDS = 60
# On, for 0 seconds: closing then sends RST, and the kernel keeps nothing for the client.
_NO_LINGER = struct.pack("ii", 1, 0)

Scope = dict[str, Any]
Receive = Callable[..., Any]
Send = Callable[..., Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def get_asgi_application(threads: int = 4) -> Application:
    """Return Django's ASGI application. threads: how many all requests share; each can use a database connection."""
    return HealthChecks(BodyLimit(SharedThreads(asgi.get_asgi_application(), threads)))


class HealthChecks:
    """Answers the health check on the event loop, so that it does not wait for the threads whose state it reports."""

    def __init__(self, application: Application) -> None:
        # Models can be imported only after Django's setup.
        from .providers.preparation import background
        from .views import health

        self._application = application
        self._preparation = background
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server's first call is of its lifespan or of a request: in the process that serves, after any fork.
        self._preparation.start()
        if scope["type"] == "http" and self._health.is_health_check(scope):
            await _send(self._health.answer_health(), send, with_body=scope["method"] == "GET")
        else:
            await self._application(scope, receive, send)


class BodyLimit:
    """Refuses bodies that are larger than the app's views accept, or slower, and stops reading where one turns out to be."""

    def __init__(self, application: Application) -> None:
        from .views import body_limit

        self._application = application
        self._limits = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._limits.may_have_body(scope):
            await self._application(scope, receive, send)
            return
        body = _LimitedBody(receive, self._limits.longest_body(), is_ours=partial(self._limits.is_ours, scope))
        try:
            body.expect(self._limits.declared_length(scope))
            await self._application(scope, body.receive, send)
        except RequestAborted:
            if not body.refused:
                raise
        if body.refused:
            await _send(self._limits.refusal(scope, body.refused), send)


class _LimitedBody:
    """A request's body, until it is larger or slower than it may be: then the request is aborted.

    is_ours: whether it is for a view of the app; looked up only then. refused: the code of the error; "" for none.
    """

    def __init__(self, receive: Receive, longest: int, is_ours: Callable[[], bool]) -> None:
        self._receive = receive
        self._left = longest
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._is_ours = is_ours
        # Whether all of it is here, or it has no limits.
        self._is_over = False
        self.refused = ""

    def expect(self, length: int) -> None:
        """Abort a request whose body is said to be too large. Raises RequestAborted."""
        if length > self._left:
            self._abort("too_large")

    async def receive(self) -> dict[str, Any]:
        """Return the next message. Raises RequestAborted, upon which Django answers nothing."""
        try:
            async with asyncio.timeout_at(None if self._is_over else self._deadline):
                message: dict[str, Any] = await self._receive()
        except TimeoutError:
            self._abort("too_slow")
            return await self.receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self._abort("too_large")
        # After a complete body, the next message says that the client has left.
        self._is_over |= not message.get("more_body")
        return message

    def _abort(self, code: str) -> None:
        if not self._is_over and self._is_ours():
            self.refused = code
            raise RequestAborted
        self._is_over = True


class SharedThreads:
    """Runs an application's synchronous code on a few threads, each request on one of them."""

    def __init__(self, application: Application, threads: int = 4) -> None:
        # Models can be imported only after Django's setup.
        from .views.known_clients import known_clients

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


async def _send(response: HttpResponse, send: Send, *, with_body: bool = True) -> None:
    headers = {**response.headers, "Content-Length": str(len(response.content))}
    raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": raw_headers})
    await send({"type": "http.response.body", "body": response.content if with_body else b""})


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
