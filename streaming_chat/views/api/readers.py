"""Opens the reader of a reply: asynchronous under ASGI, blocking under WSGI."""

from __future__ import annotations

import asyncio
import math
from functools import partial

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest

from streaming_chat.conf import conf
from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.follower import follower
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import ReplyStream

from .reply_answers import ReplyAnswer

# gunicorn kills a sync worker that has not come back to it for 30 s (--timeout), and all replies it writes with it. So a
# stream ends before that, without an ending, and one write waits this long for its client. gunicorn then waits up to 2 s
# for the client to close: 27 s in all.
_SINGLE_THREAD_SECONDS = 20.0
_SINGLE_THREAD_SEND_SECONDS = 5.0


def open_reader(request: HttpRequest, answer: ReplyAnswer) -> Reader | BlockingReader:
    """Start the run or find the reply's stream, and return a reader of it. In the server's loop, or in the view's."""
    if isinstance(request, ASGIRequest):
        return _open_async(answer)
    _bound_sends(request)
    return _open_blocking(answer, _SINGLE_THREAD_SECONDS if _is_single_threaded(request) else None)


def release_connections() -> None:
    """Give the request's connections back before a long stream: 20 anonymous streams held 20 otherwise.

    Not in the view: middleware (sessions) uses them after it.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


release_connections_in_thread = sync_to_async(release_connections, thread_sensitive=True)


def _open_async(answer: ReplyAnswer) -> Reader:
    loop = asyncio.get_running_loop()
    stream = runner.start(answer.order).stream if answer.order else _find_stream(answer, loop)
    return Reader(
        stream,
        answer.encoder(str(answer.message_id)),
        answer.position,
        on_open=release_connections_in_thread,
        register=partial(access_guard.register, guarded=answer.is_guarded),
        keeps_alive=_keeps_alive(answer, stream),
    )


def _open_blocking(answer: ReplyAnswer, seconds: float | None) -> BlockingReader:
    """Open a reader for a thread, for at most so many seconds: under WSGI runs live in a loop of this process's own."""
    if answer.order is not None:
        stream = runner.start_in_background(answer.order).stream
    else:
        stream = _find_stream(answer, runner.background_loop())
    return BlockingReader(
        stream,
        answer.encoder(str(answer.message_id)),
        answer.position,
        on_open=release_connections,
        register=partial(access_guard.register, guarded=answer.is_guarded),
        seconds=seconds,
        keeps_alive=_keeps_alive(answer, stream),
    )


def _keeps_alive(answer: ReplyAnswer, stream: ReplyStream) -> bool:
    """Return whether the stream goes on for this reader: for staff only if it follows another process's reply."""
    run = runner.find(answer.message_id)
    return answer.by_owner or run is None or stream is not run.stream


def _find_stream(answer: ReplyAnswer, loop: asyncio.AbstractEventLoop) -> ReplyStream:
    """Return the stream of a reply that exists; that of a run which began since the answer was made comes first."""
    if run := runner.find(answer.message_id):
        return run.stream
    if answer.stream is not None:
        return answer.stream
    if answer.followed is None:
        raise LookupError("an answer wants an order, a stream or a followed reply; got none.")
    runner.watch_server()
    answer.followed.stream.loop = loop
    return follower.share(answer.followed).stream


def _is_single_threaded(request: HttpRequest) -> bool:
    """Return whether this WSGI process serves nothing else meanwhile."""
    return not request.META.get("wsgi.multithread", True)


def _bound_sends(request: HttpRequest) -> None:
    """Disconnect a client that stops reading, where the WSGI server shows its socket: each write holds a thread."""
    connection = request.META.get("gunicorn.socket")
    if connection is not None:
        # gunicorn resets it for the connection's next request. Of one write, which is at most 64 KiB.
        longest = _SINGLE_THREAD_SEND_SECONDS if _is_single_threaded(request) else math.inf
        connection.settimeout(min(conf.STREAMING_CHAT_SEND_TIMEOUT_SECONDS, longest))
