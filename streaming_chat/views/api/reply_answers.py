"""How a request is answered with a reply: found out in the handler's thread, before a reader is opened."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.encoders import ENCODERS, Encoder
from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.follower import FollowedReply
from streaming_chat.engine.run import Order
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message


@dataclass(kw_only=True)
class ReplyAnswer:
    """An answer that streams a reply, or waits for its ending.

    order: of a run to start; else `stream` of the run that writes it in this process, else `followed`. position: to
    stream from. finish: makes the response at the ending instead of streaming; called with whether the ending came
    within `timeout`, in seconds. by_owner: the conversation's owner reads, for whom the reply goes on; False for staff.
    is_guarded: the access guard asks at each heartbeat whether the owner may still read.
    """

    message_id: uuid.UUID
    order: Order | None = None
    stream: ReplyStream | None = None
    followed: FollowedReply | None = None
    position: int = 0
    encoder: type[Encoder] = ENCODERS["simple"]
    finish: Callable[[bool], HttpResponse] | None = None
    timeout: float | None = None
    by_owner: bool = True
    is_guarded: bool = True


def answer_with_reply(
    message_id: uuid.UUID, order: Order | None, *, by_owner: bool = True, **options: Any
) -> ReplyAnswer:
    """Return the answer with a reply. order: of the run to start; None for a reply that exists. Blocking."""
    # The answer holds the run's stream from here on: the run may end, and be forgotten, before the reader is opened.
    run = runner.find(message_id) if order is None else None
    stream = run.stream if run else None
    followed = None
    if order is None and stream is None:
        message = Message.objects.using(live_database()).get(pk=message_id)
        followed = FollowedReply(message, keeps_alive=by_owner)
    return ReplyAnswer(
        message_id=message_id,
        order=order,
        stream=stream,
        followed=followed,
        by_owner=by_owner,
        # The guard's connection does not see the rows of an open transaction, such as a TestCase's.
        is_guarded=by_owner and not connections[live_database()].in_atomic_block,
        **options,
    )


def require_reader_slot() -> None:
    """Raise APIError if this process serves as many streams as it may: before a reply is begun, not after."""
    if access_guard.count >= conf.STREAMING_CHAT_MAX_READERS:
        raise APIError(503, "full", retry_after=5)


def encoder_for(request: HttpRequest) -> type[Encoder]:
    """Return the encoder of `?format=`. Raises APIError: 406, with the formats there are."""
    name = request.GET.get("format", "simple")
    if name not in ENCODERS:
        raise APIError(406, "not_acceptable", formats=list(ENCODERS))
    return ENCODERS[name]
