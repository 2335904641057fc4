"""Answers to the tool calls for which a reply waits."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions, may_answer
from streaming_chat.chats.call_answers import CallAnswer, answer_calls, output_text
from streaming_chat.engine.run import Run
from streaming_chat.engine.writer import writer
from streaming_chat.models import Message
from streaming_chat.protocol.storable_text import storable, storable_value

from . import parsing
from .lookups import find_reply
from .operations import operation
from .replies import resumed_position
from .reply_answers import (
    ReplyAnswer,
    answer_with_reply,
    encoder_for,
    owner_access,
    require_reader_slot,
    start_run,
)
from .responses import private, require
from .serializers import serialize_message
from .streaming import streaming

# More than a step can have.
_MOST_ANSWERS = 64
_LONGEST_REASON = 1_000
_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "call": {"type": "string", "minLength": 1, "maxLength": 255},
        "approved": {"type": "boolean"},
        "arguments": {"type": "object"},
        "reason": {"type": "string", "maxLength": _LONGEST_REASON},
        "output": {},
    },
    "required": ["call"],
    "anyOf": [{"required": ["approved"]}, {"required": ["output"]}],
    "additionalProperties": False,
}


@parsing.check(type="array", items=_ANSWER, minItems=1, maxItems=_MOST_ANSWERS)
def answers(value: Any) -> list[CallAnswer]:
    """Check a list of answers, one for each call."""
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_ANSWERS:
        raise ValueError(f"Must be a list of 1 to {_MOST_ANSWERS} answers.")
    given = [_answer(item) for item in value]
    if len({answer.call for answer in given}) < len(given):
        raise ValueError("Must have one answer for each call.")
    return given


def _answer(value: Any) -> CallAnswer:
    if not isinstance(value, dict) or not _is_answer(value):
        raise ValueError("Each answer must have `call`, and may have `approved`, `arguments`, `reason` and `output`.")
    arguments = value.get("arguments")
    return CallAnswer(
        call=value["call"],
        approved=value.get("approved", True),
        arguments=None if arguments is None else json.dumps(storable_value(arguments), ensure_ascii=False),
        reason=storable(value.get("reason", "")),
        output=output_text(storable_value(value["output"])) if "output" in value else None,
    )


def _is_answer(value: dict[str, Any]) -> bool:
    call, reason = value.get("call"), value.get("reason", "")
    return (
        value.keys() <= _ANSWER["properties"].keys()
        and isinstance(call, str)
        and 0 < len(call) <= 255
        and isinstance(value.get("approved", True), bool)
        and isinstance(value.get("arguments", {}), dict)
        and isinstance(reason, str)
        and len(reason) <= _LONGEST_REASON
        and ("approved" in value or "output" in value)
    )


def _answer_fields() -> parsing.Fields:
    return parsing.Fields({"answers": answers, "stream": parsing.boolean}, ["answers"])


@operation(
    body=_answer_fields,
    headers=("Last-Event-ID",),
    answers={200: "Message"},
    streams=True,
    errors=("already_answered", "not_waiting", "cannot_go_on", "too_many_replies", "draining", "full"),
)
def answer(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> ReplyAnswer | HttpResponse:
    """Answer tool calls for which a reply waits; with the last one, it goes on."""
    encoder = encoder_for(request)
    body = parsing.read_body(request, *_answer_fields())
    reply = find_reply(owner, message_id)
    is_streamed = body.get("stream", False)
    run = take_answers(request, owner, reply, body["answers"], is_read=is_streamed)
    if not is_streamed:
        message = Message.objects.using(reply._state.db).select_related("conversation").get(pk=reply.pk)
        return private(JsonResponse(serialize_message(message, owner.key, partial(may_answer, request, owner))))
    position = resumed_position(request, reply.pk) or (run.own_position if run else 0)
    return answer_with_reply(reply.pk, run, owner_access(request, owner), position=position, encoder=encoder)


def take_answers(
    request: HttpRequest, owner: Owner, reply: Message, given: Sequence[CallAnswer], *, is_read: bool
) -> Run | None:
    """Save answers, in whatever format they came; return the run with which the reply goes on, None if it does not yet.

    is_read: whether the response is a stream. Raises APIError.
    """
    require(get_permissions().may_answer(request, owner, reply.conversation))
    if is_read:
        require_reader_slot(owner.key)
    answered = answer_calls(request, reply, given, writer.worker, by=owner.user)
    # At once: whatever fails from here on, the reply must not be left without its run.
    return start_run(request, answered.order) if answered.order else None


answers_view = streaming(POST=answer)
