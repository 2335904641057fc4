"""Django's test client over an ASGI application: Django's own, or that of `streaming_chat.asgi`, whose handler it then runs.

    client = ASGIClient(streaming_chat.asgi.get_asgi_application)

The application runs in an event loop in a thread, and its synchronous code in threads of its own. Those use the database
connections of the thread that sends the request, so that they see the rows of a TestCase's transaction.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import cache
from http.cookies import SimpleCookie
from typing import Any

from asgiref.sync import SyncToAsync
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client

from streaming_chat.testing import Gate

TIMEOUT = 30
# The type of what follows the messages of an application.
_END = "end"
_TOKEN = "a" * 32
_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}


class ASGIClient(Client):
    """Sends each request to one application.

    get_application: makes it, before the first request. threads: the names of the threads that the requests began in.
    leaves_at: the client of the next request leaves when its reply stands at this gate.
    """

    def __init__(
        self, get_application: Callable[[], Any], *, enforce_csrf_checks: bool = False, **options: Any
    ) -> None:
        super().__init__(enforce_csrf_checks, **options)
        self.threads: list[str] = []
        self.leaves_at: Gate | None = None
        self.handler = self._send
        self._get_application = cache(get_application)
        self._enforces_csrf = enforce_csrf_checks

    def _send(self, environ: dict[str, Any]) -> HttpResponse | StreamingHttpResponse:
        body = environ["wsgi.input"].read()
        if not self._enforces_csrf:
            _add_csrf_token(environ)
        leaves_at, self.leaves_at = self.leaves_at, None
        response = _Exchange(self._get_application(), _scope(environ), body, self.threads, leaves_at).response()
        response.wsgi_request = WSGIRequest(environ)
        return response


class ReceivedStream(StreamingHttpResponse):
    """The answer as its client has it: closing it sends no signal that a request has been served."""

    def close(self) -> None:
        """See HttpResponse."""
        for close in self._resource_closers:
            close()


class _Exchange:
    """One request, and its answer."""

    def __init__(
        self,
        application: Callable[..., Any],
        scope: dict[str, Any],
        body: bytes,
        threads: list[str],
        leaves_at: Gate | None,
    ) -> None:
        self._scope = scope
        self._leaves_at = leaves_at
        self._body: bytes | None = body
        self._sent: queue.Queue[dict[str, Any]] = queue.Queue()
        self._loop = _event_loop()
        self._lent = _LentConnections(scope, threads)
        self._done: Future[None] = asyncio.run_coroutine_threadsafe(self._run(application), self._loop)

    def response(self) -> HttpResponse | StreamingHttpResponse:
        """Return the answer at its end: while a reply is saved in the test's transaction, the test must not use it."""
        start = self._next()
        if start["type"] == _END:
            # Its client has left before.
            return HttpResponse(status=499)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        is_stream = "content-length" not in {name.lower() for name, _value in headers}
        pieces = list(self)
        response = ReceivedStream(pieces) if is_stream else HttpResponse(b"".join(pieces))
        response.status_code = start["status"]
        del response.headers["Content-Type"]
        for name, value in headers:
            if name.lower() == "set-cookie":
                response.cookies.load(SimpleCookie(value))
            else:
                response.headers[name] = value
        return response

    def __iter__(self) -> Iterator[bytes]:
        is_over = False
        while not is_over:
            message = self._next()
            is_over = not message.get("more_body")
            if message.get("body") and self._scope["method"] != "HEAD":
                yield message["body"]
        self._done.result(TIMEOUT)

    def _next(self) -> dict[str, Any]:
        message = self._sent.get(timeout=TIMEOUT)
        if message["type"] == _END:
            self._done.result(TIMEOUT)
        return message

    async def _run(self, application: Callable[..., Any]) -> None:
        try:
            await application(self._scope, self._receive, self._send)
        finally:
            await self._lent.take_back()
            self._sent.put({"type": _END})

    async def _receive(self) -> dict[str, Any]:
        if self._body is None and self._leaves_at is not None:
            await self._leaves_at.until_reached()
            return {"type": "http.disconnect"}
        if self._body is None:
            # The client stays until it has the whole answer.
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body}

    async def _send(self, message: dict[str, Any]) -> None:
        self._sent.put(message)


class _LentConnections:
    """The connections of this thread, which the thread that handles a request uses until `take_back`.

    Django closes what a request leaves in a transaction, so meanwhile it closes none.
    """

    _open = 0

    def __init__(self, scope: dict[str, Any], threads: list[str]) -> None:
        self._scope = scope
        self._threads = threads
        self._executor: Executor | None = None
        self._connections = {alias: connections[alias] for alias in connections}
        for connection in self._connections.values():
            connection.inc_thread_sharing()
        request_started.connect(self._lend)
        _LentConnections._open += 1
        request_started.disconnect(close_old_connections)
        request_finished.disconnect(close_old_connections)

    async def take_back(self) -> None:
        await self._wait_for_calls()
        for connection in self._connections.values():
            connection.dec_thread_sharing()
        request_started.disconnect(self._lend)
        _LentConnections._open -= 1
        if not _LentConnections._open:
            request_started.connect(close_old_connections)
            request_finished.connect(close_old_connections)

    async def _wait_for_calls(self) -> None:
        """Return once the thread has made every call of the request: a reply may just be saved there.

        Django's handler has waited, and shut the thread down.
        """
        if self._executor is not None:
            with suppress(RuntimeError):
                await asyncio.get_running_loop().run_in_executor(self._executor, int)

    def _lend(self, scope: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if scope is self._scope:
            self._threads.append(threading.current_thread().name)
            self._executor = SyncToAsync.context_to_thread_executor[SyncToAsync.thread_sensitive_context.get()]
            for alias, connection in self._connections.items():
                connections[alias] = connection


@cache
def _event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="tests.asgi_client", daemon=True).start()
    return loop


def _add_csrf_token(environ: dict[str, Any]) -> None:
    """Add what a page of the site sends: the application's own request cannot be told to skip the check."""
    if environ["REQUEST_METHOD"] in _SAFE or "HTTP_X_CSRFTOKEN" in environ:
        return
    cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    if settings.CSRF_COOKIE_NAME not in cookies:
        cookies[settings.CSRF_COOKIE_NAME] = _TOKEN
    environ["HTTP_COOKIE"] = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())
    environ["HTTP_X_CSRFTOKEN"] = cookies[settings.CSRF_COOKIE_NAME].value
    environ.setdefault("HTTP_REFERER", f"{environ['wsgi.url_scheme']}://{_host(environ)}/")


def _scope(environ: dict[str, Any]) -> dict[str, Any]:
    path = environ["PATH_INFO"].encode("latin-1")
    headers = {"host": _host(environ)}
    for name, value in environ.items():
        if name.startswith("HTTP_") or (name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value):
            headers[name.removeprefix("HTTP_").lower().replace("_", "-")] = str(value)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": path.decode(errors="replace"),
        "raw_path": path,
        "query_string": environ["QUERY_STRING"].encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": (environ["REMOTE_ADDR"], 50_000),
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }


def _host(environ: dict[str, Any]) -> str:
    return str(environ.get("HTTP_HOST") or environ["SERVER_NAME"])
