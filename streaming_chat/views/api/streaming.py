"""Answers with a reply's stream: prepares it in one hop to a thread, opens it, and hands Django an iterator.

Nothing of a reply depends on the request from then on: the response is only a reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.encoders import ENCODERS, Encoder
from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.follower import FollowedReply, follower
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.engine.run import Order
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message

from .responses import Answer, as_response, error_response, exempt, handler_for

# gunicorn kills a sync worker that has not come back to it for 30 s (--timeout), and all replies it writes with it. So a
# stream ends itself before, without an ending, and one write waits at most so long for its client. gunicorn then waits up to
# 2 s for the client to close: 27 s in all.
_SINGLE_THREAD_SECONDS = 20.0
_SINGLE_THREAD_SEND_SECONDS = 5.0


@dataclass(kw_only=True)
class Prepared:
    """What a handler found out in its thread.

    order: of a run to start; else `stream` of the run that writes it in this process, else `following`. position: to
    stream from. finish: answers at the ending instead of streaming, told whether it came within `seconds`. by_owner: who
    reads is the conversation's owner, and keeps the reply from being deserted. Else it is staff, who watch. is_guarded:
    the access guard asks at each heartbeat whether the owner may still read.
    """

    message_id: uuid.UUID
    order: Order | None = None
    stream: ReplyStream | None = None
    following: FollowedReply | None = None
    position: int = 0
    encoder: type[Encoder] = ENCODERS["simple"]
    finish: Callable[[bool], HttpResponse] | None = None
    seconds: float | None = None
    by_owner: bool = True
    is_guarded: bool = True


Handler = Callable[..., Prepared | Answer]


# What is prepared in a thread, of (request, **url); and the answer to an error, of (request, error, url).
Prepare = Callable[..., Prepared | HttpResponse]
Failed = Callable[[HttpRequest, Exception, dict[str, Any]], Awaitable[HttpResponse]]


def streaming(**handlers: Handler) -> Callable[..., Any]:
    """Return the view of an address that streams: one handler a method, (request, owner, **url) -> Prepared."""

    @wraps(next(iter(handlers.values())))
    def prepare(request: HttpRequest, **url: Any) -> Prepared | HttpResponse:
        return _prepare(request, handlers, url)

    return prepared_view(prepare, _answer_in_json)


def prepared_view(prepare: Prepare, failed: Failed) -> Callable[..., Any]:
    """Return a view that prepares in a thread, and answers with a stream, or at its ending without holding anything."""
    # Made once: to make one inspects the function, 2.5 µs by timeit.
    prepare_in_thread = sync_to_async(prepare, thread_sensitive=True)

    @exempt
    @wraps(prepare)
    async def view(request: HttpRequest, **url: Any) -> HttpResponse | StreamingHttpResponse:
        has_left = asyncio.Event()
        try:
            # Shielded: a client that leaves now must not leave rows without their run.
            opened = await asyncio.shield(
                asyncio.ensure_future(_open(request, prepare_in_thread, failed, url, has_left))
            )
            if isinstance(opened, HttpResponse):
                return opened
            prepared, reader = opened
            if prepared.finish is None:
                return StreamResponse(reader, prepared.encoder)
            return await _finish(prepared.finish, reader, prepared.seconds)
        except asyncio.CancelledError:
            has_left.set()
            raise
        except Exception as error:  # noqa: BLE001  (answered, and logged)
            return await failed(request, error, url)

    return view


async def _answer_in_json(request: HttpRequest, error: Exception, url: dict[str, Any]) -> HttpResponse:
    return error_response(error)


def prepare_reply(message_id: uuid.UUID, order: Order | None, *, by_owner: bool = True, **options: Any) -> Prepared:
    """Return what to open: the run to start, or wherever the reply is. In the handler's thread."""
    # The run is held by its stream from here on: it may end, and be forgotten, before the reader is opened.
    run = runner.find(message_id) if order is None else None
    stream = run.stream if run else None
    following = None
    if order is None and stream is None:
        message = Message.objects.using(live_database()).get(pk=message_id)
        following = FollowedReply(message, keeps=by_owner)
    return Prepared(
        message_id=message_id,
        order=order,
        stream=stream,
        following=following,
        by_owner=by_owner,
        # The guard's connection does not see the rows of a transaction that goes on, as a TestCase's.
        is_guarded=by_owner and not connections[live_database()].in_atomic_block,
        **options,
    )


def require_reader_slot() -> None:
    """Raise APIError when this process serves as many streams as it may: before a reply is begun, not after."""
    if access_guard.count >= conf.STREAMING_CHAT_MAX_READERS:
        raise APIError(503, "full", retry_after=5)


def encoder_for(request: HttpRequest) -> type[Encoder]:
    """Return the encoder of `?format=`. Raises APIError: 406, with the formats there are."""
    name = request.GET.get("format", "simple")
    if name not in ENCODERS:
        raise APIError(406, "not_acceptable", formats=list(ENCODERS))
    return ENCODERS[name]


class StreamResponse(StreamingHttpResponse):
    """A reader as a response, that no proxy, cache or middleware holds back."""

    def __init__(self, reader: Reader | BlockingReader, encoder: type[Encoder]) -> None:
        super().__init__(reader, content_type=encoder.content_type)
        self.headers["Cache-Control"] = "no-store, no-cache, no-transform"
        # GZipMiddleware would compress: Django 5.2 makes Chromium see one event only, 6.0 holds all back.
        self.headers["Content-Encoding"] = "identity"
        self.headers["X-Accel-Buffering"] = "no"
        self.headers["X-Content-Type-Options"] = "nosniff"
        self.headers["Vary"] = "Cookie"

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own goes through two async generators; a middleware that wrapped the content gets them.
        iterator = self._iterator  # type: ignore[attr-defined]  # django-stubs does not know it
        if isinstance(iterator, Reader):
            return iterator
        return super().__aiter__()


async def _open(
    request: HttpRequest,
    prepare: Callable[..., Awaitable[Prepared | HttpResponse]],
    failed: Failed,
    url: dict[str, Any],
    has_left: asyncio.Event,
) -> HttpResponse | tuple[Prepared, Reader | BlockingReader]:
    """Prepare and open. has_left: set when the request is over before that is done."""
    if has_left.is_set():
        return HttpResponse(status=400)
    try:
        prepared = await prepare(request, **url)
        if isinstance(prepared, HttpResponse):
            return prepared
        if isinstance(request, ASGIRequest):
            return prepared, _open_reader(prepared)
        _bound_sends(request)
        return prepared, _open_blocking_reader(
            prepared, _SINGLE_THREAD_SECONDS if _is_single_threaded(request) else None
        )
    except Exception as error:  # noqa: BLE001  (answered, and logged)
        return await failed(request, error, url)
    finally:
        if has_left.is_set():
            # Django has done its closing already, and a connection opened since would wait for the collector. With
            # threads that are shared (streaming_chat.asgi) this is refused, and the next request closes.
            with contextlib.suppress(RuntimeError):
                await _release_connections()


def _prepare(request: HttpRequest, handlers: dict[str, Handler], url: dict[str, Any]) -> Prepared | HttpResponse:
    handler = handler_for(request, handlers)
    owner = get_permissions().authenticate(request)
    answer = handler(request, owner, **url)
    lease_judge.database_answered()
    return answer if isinstance(answer, Prepared) else as_response(answer)


def _open_reader(prepared: Prepared) -> Reader:
    """Open a reader in the running loop, which is the server's."""
    loop = asyncio.get_running_loop()
    stream = runner.start(prepared.order).stream if prepared.order else _stream_found(prepared, loop)
    return Reader(
        stream,
        prepared.encoder(str(prepared.message_id)),
        prepared.position,
        on_open=_release_connections,
        register=partial(access_guard.register, guarded=prepared.is_guarded),
        keeps_alive=_goes_on_for(prepared, stream),
    )


def _open_blocking_reader(prepared: Prepared, seconds: float | None) -> BlockingReader:
    """Open a reader for a thread, for at most so many seconds: under WSGI runs live in a loop of this process's own."""
    if prepared.order is not None:
        stream = runner.start_in_background(prepared.order).stream
    else:
        stream = _stream_found(prepared, runner.background_loop())
    return BlockingReader(
        stream,
        prepared.encoder(str(prepared.message_id)),
        prepared.position,
        on_open=release_connections,
        register=partial(access_guard.register, guarded=prepared.is_guarded),
        seconds=seconds,
        keeps_alive=_goes_on_for(prepared, stream),
    )


def _goes_on_for(prepared: Prepared, stream: ReplyStream) -> bool:
    """Return whether the stream goes on for this reader. One of a following does: it is staff's own, and tells nobody."""
    run = runner.find(prepared.message_id)
    return prepared.by_owner or run is None or stream is not run.stream


def _stream_found(prepared: Prepared, loop: asyncio.AbstractEventLoop | None) -> ReplyStream:
    """Return the stream of a reply that exists; a run that began since the look at the database comes first."""
    if run := runner.find(prepared.message_id):
        return run.stream
    if prepared.stream is not None:
        return prepared.stream
    if prepared.following is None:
        raise LookupError("a handler prepares an order, a stream or a following; got none.")
    runner.watch_server()
    prepared.following.stream.loop = loop
    return follower.share(prepared.following).stream


def _is_single_threaded(request: HttpRequest) -> bool:
    """Return whether nothing else is served by this WSGI process while it answers."""
    return not request.META.get("wsgi.multithread", True)


def _bound_sends(request: HttpRequest) -> None:
    """Cut a client that takes nothing, where the WSGI server shows its socket: a worker's thread waits in each write."""
    connection = request.META.get("gunicorn.socket")
    if connection is not None:
        # gunicorn resets it for the connection's next request. Of one write, which is at most 64 KiB.
        longest = _SINGLE_THREAD_SEND_SECONDS if _is_single_threaded(request) else math.inf
        connection.settimeout(min(conf.STREAMING_CHAT_SEND_TIMEOUT_SECONDS, longest))


async def _finish(
    finish: Callable[[bool], HttpResponse], reader: Reader | BlockingReader, seconds: float | None
) -> HttpResponse:
    if isinstance(reader, Reader):
        ended = await reader.until_ended(seconds)
    else:
        ended = await sync_to_async(reader.until_ended, thread_sensitive=True)(seconds)
    if reader.denial:
        raise APIError(403, reader.denial)
    return await sync_to_async(finish, thread_sensitive=True)(ended)


def release_connections() -> None:
    """Give the request's connections back before a long stream: 20 anonymous streams held 20 otherwise.

    Not in the view: middleware (sessions) uses them after it.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


_release_connections = sync_to_async(release_connections, thread_sensitive=True)
