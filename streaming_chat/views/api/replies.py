"""Replies: begin, follow, stop, regenerate and continue."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions, may_answer
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.sending import send
from streaming_chat.conf import conf
from streaming_chat.encoders import Encoder
from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.outputs import Output, output_named
from streaming_chat.providers.model_options import EFFORTS

from . import event_ids, parsing
from .lookups import find_message, find_reply
from .operations import SENDING, operation
from .reply_answers import (
    ReplyAnswer,
    answer_with_reply,
    encoder_for,
    owner_access,
    require_reader_slot,
    start_run,
)
from .responses import private, require
from .serializers import serialize_conversation, serialize_message
from .streaming import streaming, waiting

_STOP_TIMEOUT = 5.0
_sibling = partial(
    operation,
    headers=("Last-Event-ID",),
    answers={200: "Turn", 202: "Turn"},
    streams=True,
    errors=(*SENDING, "too_many_regenerations"),
)

# (owner, message_id, whether it has ended) -> the response.
AnswerWhole = Callable[[Owner, uuid.UUID, bool], HttpResponse]


def begin_reply(
    request: HttpRequest,
    owner: Owner,
    send_request: SendRequest,
    *,
    stream: bool = True,
    answer_whole: AnswerWhole | None = None,
    **options: Any,
) -> ReplyAnswer:
    """Send, and return how to answer with the reply. stream: False to answer at its ending, as `answer_whole` does.

    answer_whole: None for the native API's JSON.
    """
    require_reader_slot(owner.key, sends=True)
    sent = send(request, owner, send_request, writer.worker)
    # At once: whatever fails from here on, the rows must not be left without their run.
    run = start_run(request, sent.order) if sent.order else None
    position = 0 if sent.order else resumed_position(request, sent.message_id)
    finish = None if stream else partial(answer_whole or partial(_answer_with_turn, request), owner, sent.message_id)
    access = owner_access(request, owner)
    return answer_with_reply(sent.message_id, run, access, position=position, finish=finish, **options)


def _continue_fields() -> parsing.Fields:
    return parsing.Fields(
        {
            "client_id": parsing.client_id,
            "stream": parsing.boolean,
            "disconnect": parsing.one_of("stop", "finish"),
        }
    )


def _regenerate_fields() -> parsing.Fields:
    checks = {"model": parsing.text(255, shortest=1), "effort": parsing.one_of(*EFFORTS)}
    return parsing.Fields(_continue_fields().checks | checks)


@_sibling(body=_regenerate_fields)
def regenerate(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> ReplyAnswer:
    """Write a reply again, as its sibling."""
    return _begin_sibling(request, owner, message_id, _regenerate_fields())


@_sibling(body=_continue_fields)
def continue_reply(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> ReplyAnswer:
    """Continue a reply that was cut off: a sibling that begins with its text, by the same model."""
    return _begin_sibling(request, owner, message_id, _continue_fields(), continues=True)


def _begin_sibling(
    request: HttpRequest,
    owner: Owner,
    message_id: uuid.UUID,
    fields: parsing.Fields,
    *,
    continues: bool = False,
) -> ReplyAnswer:
    if parsing.has_body(request):
        parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_body(request, *fields)
    reply = find_reply(owner, message_id)
    send_request = SendRequest.from_body(
        body,
        regenerate=reply.pk,
        continues=continues,
        output=output_of(reply),
        conversation_id=reply.conversation_id,
        grace_seconds=grace_seconds(body.get("disconnect")),
    )
    return begin_reply(request, owner, send_request, stream=body.get("stream", True), encoder=encoder)


def output_of(reply: Message) -> Output | None:
    """Return the object that another version of a reply must be, like the first. Raises APIError: 422."""
    if not reply.output_name:
        return None
    try:
        return output_named(reply.output_name)
    except KeyError:
        # Python code can ask for an object without a name in the settings.
        raise APIError(
            422, "invalid", fields={"id": "Must be a reply whose output is in STREAMING_CHAT_OUTPUTS."}
        ) from None


def _follow_fields() -> parsing.Fields:
    return parsing.Fields({"after": parsing.Check(str, event_ids.EVENT_ID_SCHEMA)})


@operation(query=_follow_fields, headers=("Last-Event-ID",), answers={204: None}, streams=True)
def follow(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> ReplyAnswer | HttpResponse:
    """A reply's stream from a position, while it is written and after."""
    require(get_permissions().may_read(request, owner))
    encoder = encoder_for(request)
    position = event_ids.requested_position(request, message_id)
    reply = find_reply(owner, message_id)
    if position is None:
        # How EventSource is told to stop.
        return private(HttpResponse(status=204))
    return answer_with_existing(request, owner, reply, position=position, encoder=encoder)


def answer_with_existing(
    request: HttpRequest, owner: Owner, reply: Message, *, encoder: type[Encoder], **options: Any
) -> ReplyAnswer | HttpResponse:
    """Return the answer with a reply that existed, as far as it is written, and what follows."""
    if request.method == "HEAD":
        return HttpResponse(content_type=encoder.content_type)
    require_reader_slot(owner.key)
    return answer_with_reply(reply.pk, reply, owner_access(request, owner), encoder=encoder, **options)


def _stop_fields() -> parsing.Fields:
    return parsing.Fields({"position": parsing.optional(event_ids.event_id)})


@operation(body=_stop_fields, answers={200: "Message", 202: "Message"})
def stop(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> ReplyAnswer | HttpResponse:
    """End a reply, and wait for the ending."""
    event_id = parsing.read_body(request, *_stop_fields()).get("position")
    position = None if event_id is None else event_ids.position_of(event_id, message_id)
    return stop_reply(request, owner, find_reply(owner, message_id), position)


def stop_reply(
    request: HttpRequest, owner: Owner, reply: Message, position: int | None = None
) -> ReplyAnswer | HttpResponse:
    """End a reply, at the position that its reader has seen, and answer with its message."""
    require(get_permissions().may_stop(request, owner, reply.conversation))
    if not reply.is_live:
        return private(JsonResponse(serialize_message(reply, owner.key, partial(may_answer, request, owner))))
    runner.request_stop(reply.pk, "user", position)
    finish = partial(_answer_with_message, request, owner, reply.pk)
    return answer_with_reply(reply.pk, None, owner_access(request, owner), finish=finish, timeout=_STOP_TIMEOUT)


def grace_seconds(policy: str | None) -> float | None:
    """Return how long a reply goes on without a reader. policy: "stop" for not at all; a client can ask only for less."""
    return 0 if policy == "stop" else conf.STREAMING_CHAT_DISCONNECT_GRACE_SECONDS


def resumed_position(request: HttpRequest, message_id: uuid.UUID) -> int:
    """Return where a repeated send goes on: where the client was, or from the beginning."""
    event_id = request.headers.get("Last-Event-ID", "")
    if not event_id.startswith(f"{message_id}/"):
        return 0
    return event_ids.position_of(event_id, message_id) or 0


# Answers at an ending. 202: the reply has not ended in the time that the server may wait.


def _answer_with_message(request: HttpRequest, owner: Owner, message_id: uuid.UUID, has_ended: bool) -> HttpResponse:
    message = serialize_message(find_reply(owner, message_id), owner.key, partial(may_answer, request, owner))
    return private(JsonResponse(message, status=200 if has_ended else 202))


def _answer_with_turn(request: HttpRequest, owner: Owner, message_id: uuid.UUID, has_ended: bool) -> HttpResponse:
    reply = find_reply(owner, message_id)
    user_message = find_message(owner, reply.parent_id) if reply.parent_id else None
    turn = {
        "conversation": serialize_conversation(reply.conversation),
        "user_message": user_message and serialize_message(user_message, owner.key),
        "message": serialize_message(reply, owner.key, partial(may_answer, request, owner)),
    }
    return private(JsonResponse(turn, status=200 if has_ended else 202))


events_view = streaming(GET=follow)
stop_view = waiting(POST=stop)
regenerate_view = streaming(POST=regenerate)
continue_view = streaming(POST=continue_reply)
