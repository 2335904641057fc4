"""How a request is answered with a reply: found out in the request's thread, where its reader is made too.

A reader is asynchronous under ASGI and blocking under WSGI, where runs live in a loop of this process's own.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import still_may_read
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.encoders import DEFAULT_FORMAT, Encoder, encoder_named, formats
from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.access_guard import Access, access_guard
from streaming_chat.engine.event_loops import call_in_loop
from streaming_chat.engine.follower import FollowedReply, follower
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.engine.run import Order, Run
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.views.work_shares import charge_replay

# gunicorn kills a sync worker that has not come back to it for 30 s (--timeout), and all replies it writes with it. So a
# stream ends before that, without an ending, and one write waits this long for its client. gunicorn then waits up to 2 s
# for the client to close: 27 s in all.
_SINGLE_THREAD_SECONDS = 20.0
_SINGLE_THREAD_SEND_SECONDS = 5.0
# One owner may have this part of the process's streams, and as large a part is for new messages alone.
_SHARES = 10
# Tabs and devices of one person, also where a site allows few streams.
_LEAST_SHARE = 8
# The attribute of a request with the event loop of its server.
_LOOP = "_streaming_chat_loop"


@dataclass(kw_only=True)
class ReplyAnswer:
    """An answer that streams a reply, or waits for its ending.

    source: the stream of the run that writes it in this process, else the followed reply. position: to stream from.
    encoder_options: keyword arguments of the encoder, for what a request says about its format.
    finish: makes the response at the ending instead of streaming; called with whether the ending came within `timeout`, in
    seconds. refuse: makes the response, from the ending, if the reply fails before there is any content; the stream begins
    with the first content then. None: it begins at once. access: who reads.
    """

    message_id: uuid.UUID
    source: ReplyStream | FollowedReply
    access: Access
    position: int = 0
    encoder: type[Encoder] = SimpleEncoder
    encoder_options: dict[str, Any] = field(default_factory=dict)
    finish: Callable[[bool], HttpResponse] | None = None
    timeout: float | None = None
    refuse: Callable[[dict[str, Any]], HttpResponse] | None = None


def owner_access(request: HttpRequest, owner: Owner) -> Access:
    """Return how an owner reads their own replies."""
    return Access(key=owner.key, may_read=still_may_read(request, owner))


def note_loop(request: HttpRequest, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Note the loop that serves a request, where its reply is written and read. loop: None for the running one."""
    setattr(request, _LOOP, loop or asyncio.get_running_loop())


def start_run(request: HttpRequest, order: Order) -> Run:
    """Start a run in the loop that serves a request; under WSGI, in this process's own. In the request's thread."""
    loop = _loop_of(request)
    return runner.start_in_background(order) if loop is None else runner.start(order, loop)


def answer_with_reply(
    message_id: uuid.UUID, source: Run | Message | None, access: Access, **options: Any
) -> ReplyAnswer:
    """Return the answer with a reply. Blocking.

    source: the run that has just been started; for a reply that existed, its message as the database has just had it, or
    None.
    """
    answer = ReplyAnswer(
        message_id=message_id,
        source=source.stream if isinstance(source, Run) else _find_source(message_id, source, access),
        # The guard's connection does not see the rows of an open transaction, such as a TestCase's.
        access=replace(access, is_guarded=False) if connections[live_database()].in_atomic_block else access,
        **options,
    )
    if answer.finish is None and not isinstance(source, Run):
        stream = answer.source.stream if isinstance(answer.source, FollowedReply) else answer.source
        charge_replay(access.key, stream.position - answer.position)
    return answer


def _find_source(message_id: uuid.UUID, message: Message | None, access: Access) -> ReplyStream | FollowedReply:
    if run := runner.find(message_id):
        # The answer holds the stream from here on: the run may end, and be forgotten, before the reader is made.
        return run.stream
    if message is None or message.is_live:
        # Again, since its run may have ended in this process after the message was read.
        message = Message.objects.using(live_database()).get(pk=message_id)
    return FollowedReply(message, keeps_alive=access.is_owner)


def require_reader_slot(key: str, *, sends: bool = False) -> None:
    """Raise APIError if one more stream is too many: before a reply is begun, not after.

    key: of the owner, or of the user of staff. sends: the stream is of a new message, for which room is reserved.
    """
    longest = conf.STREAMING_CHAT_MAX_READERS
    if access_guard.count >= (longest if sends else longest - longest // _SHARES):
        raise APIError(503, "full", retry_after=5)
    share = max(_LEAST_SHARE, longest // _SHARES, conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER)
    if access_guard.count_of(key) >= share:
        raise APIError(429, "too_many_streams", retry_after=5)


def encoder_for(request: HttpRequest) -> type[Encoder]:
    """Return the encoder of `?format=`. Raises APIError: 406, with the formats there are."""
    try:
        return encoder_named(request.GET.get("format", DEFAULT_FORMAT))
    except KeyError:
        raise APIError(406, "not_acceptable", formats=formats()) from None


def make_encoder(answer: ReplyAnswer) -> Encoder:
    """Return the encoder of one reader."""
    return answer.encoder(str(answer.message_id), **answer.encoder_options)


def open_reader(
    request: HttpRequest, answer: ReplyAnswer, on_open: Callable[[], Awaitable[object]] | None = None
) -> Reader | BlockingReader:
    """Return a reader of the reply: one for the loop that serves the request, else one that blocks. In its thread.

    on_open: for the loop, what is awaited before its first write.
    """
    loop = _loop_of(request)
    if loop is None:
        return open_blocking_reader(request, answer)
    stream = _open_stream(answer, loop, partial(call_in_loop, loop, runner.watch_server))
    encoder = make_encoder(answer)
    registration = _registration(answer, stream)
    return Reader(stream, encoder, answer.position, loop=loop, on_open=on_open, **registration)


def open_blocking_reader(request: HttpRequest, answer: ReplyAnswer) -> BlockingReader:
    """Return a reader of the reply that blocks the request's thread."""
    _bound_sends(request)
    stream = _open_stream(answer, runner.background_loop(), runner.watch_server)
    return BlockingReader(
        stream,
        make_encoder(answer),
        answer.position,
        on_open=release_connections,
        seconds=_SINGLE_THREAD_SECONDS if _is_single_threaded(request) else None,
        **_registration(answer, stream),
    )


def release_connections() -> None:
    """Close the request's connections before a long stream, unless CONN_MAX_AGE keeps them, as Django does after a request.

    20 anonymous streams held 20 otherwise. Not in the view: middleware (sessions) uses them after it.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


release_connections_in_thread = sync_to_async(release_connections, thread_sensitive=True)


def _loop_of(request: HttpRequest) -> asyncio.AbstractEventLoop | None:
    return getattr(request, _LOOP, None)


def _open_stream(
    answer: ReplyAnswer, loop: asyncio.AbstractEventLoop, watch_server: Callable[[], object]
) -> ReplyStream:
    """Return the stream that the answer is about; that of a run which began since the answer was made comes first."""
    source = answer.source
    if isinstance(source, ReplyStream):
        return source
    if run := runner.find(answer.message_id):
        return run.stream
    watch_server()
    source.stream.loop = loop
    return follower.share(source).stream


def _registration(answer: ReplyAnswer, stream: ReplyStream) -> dict[str, Any]:
    """Return how the reader counts. For staff the stream goes on only if it follows another process's reply."""
    run = runner.find(answer.message_id)
    return {
        "register": partial(access_guard.register, access=answer.access),
        "keeps_alive": answer.access.is_owner or run is None or stream is not run.stream,
    }


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
