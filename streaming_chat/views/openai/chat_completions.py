"""`POST v1/chat/completions`: a reply to the messages that a client sends, in chunks or whole.

A stream begins with the first content of the reply, so a model that cannot be asked is an error with a status. Therefore
the view waits, and is not called in one thread with the site's middleware.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import takewhile
from typing import Any

from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.owners import Owner, client_of
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.stateless import find_called
from streaming_chat.db.alias import live_database
from streaming_chat.encoders.openai import OpenAIEncoder
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TOOL_RESULT
from streaming_chat.providers.base import Turn
from streaming_chat.views.api import client_answers, parsing
from streaming_chat.views.api.lookups import find_reply
from streaming_chat.views.api.operations import operation
from streaming_chat.views.api.replies import begin_reply
from streaming_chat.views.api.reply_answers import ReplyAnswer

from .answers import answer_waiting, answer_whole, late_reply, openai_view, refused_reply
from .parameters import OF_THE_MODEL, fields, tools_of
from .transcripts import Transcript

# Closing the connection is the only way in which such a client can stop its reply.
_GRACE_SECONDS = 0.0
_DELIVERY = ("messages", "stream", "stream_options")


@operation(
    body=fields,
    headers=("Idempotency-Key",),
    answers={200: ("ChatCompletion", "text/event-stream")},
    failures=dict.fromkeys((400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 502, 503, 504), "OpenAIError"),
    bearer_only=True,
)
def complete(request: HttpRequest, owner: Owner) -> ReplyAnswer:
    """Answer the messages of a client."""
    given = parsing.read_body(request, *fields())
    body = {name: value for name, value in given.items() if value is not None}
    transcript: Transcript = body["messages"]
    _require_may_set(request, owner, transcript)
    send_request = _send_request(request, owner, body, transcript)
    options = {"includes_usage": body.get("stream_options", False)}
    if going_on := _go_on(request, owner, send_request, options, is_streamed=bool(body.get("stream"))):
        return going_on
    if not body.get("stream"):
        return begin_reply(request, owner, send_request, stream=False, answer_whole=_answer_whole)
    streamed: dict[str, Any] = {"encoder": OpenAIEncoder, "encoder_options": options, "refuse": refused_reply}
    return begin_reply(request, owner, send_request, **streamed)


def _go_on(
    request: HttpRequest, owner: Owner, send_request: SendRequest, encoder_options: dict[str, Any], *, is_streamed: bool
) -> ReplyAnswer | None:
    """Answer with the rest of the reply that has called for the results in a request; None if there is none."""
    results = {result["id"]: result["text"] for turn in _last_turns(send_request) for result in turn.results}
    reply = find_called(owner, send_request, live_database()) if results else None
    given = client_answers.find_answers(reply, partial(_result_in, results)) if reply else None
    if reply is None or given is None:
        return None
    options: dict[str, Any] = {"finish": partial(_answer_rest, owner, reply.pk, given.position)}
    if is_streamed:
        options = {"encoder": OpenAIEncoder, "encoder_options": {**encoder_options, "goes_on_with": reply.model}}
    return client_answers.go_on(request, owner, reply, given, field="messages", **options)


def _last_turns(send_request: SendRequest) -> Iterator[Turn]:
    """Yield the turns since the last one of the assistant."""
    turns = [*send_request.earlier, send_request.turn]
    return takewhile(lambda turn: turn.role != Message.Role.ASSISTANT, reversed(turns))


def _result_in(results: Mapping[str, str], call: Mapping[str, Any]) -> dict[str, Any] | None:
    if call["runs"] != "client" or call["id"] not in results:
        return None
    return {"call": call["id"], "output": results[call["id"]]}


def _require_may_set(request: HttpRequest, owner: Owner, transcript: Transcript) -> None:
    if transcript.system and not get_permissions().may_set_system_prompt(request, owner):
        raise APIError(422, "invalid", fields={"messages": "This site sets the system prompt."})


def _send_request(request: HttpRequest, owner: Owner, body: dict[str, Any], transcript: Transcript) -> SendRequest:
    *earlier, turn = transcript.turns
    last = turn.parts[0]
    return SendRequest(
        content=turn.text,
        result_of=last["id"] if last["kind"] == TOOL_RESULT else "",
        earlier=earlier,
        system=transcript.system,
        model=body["model"],
        effort=body.get("reasoning_effort", ""),
        max_output_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        parameters={name: body[name] for name in OF_THE_MODEL if name in body},
        tools=tools_of(body),
        client_id=_client_id(request),
        body=_compared(body, transcript),
        stateless=True,
        client=_client(request, owner, body.get("user", "")),
        grace_seconds=_GRACE_SECONDS,
    )


def _client(request: HttpRequest, owner: Owner, user: str) -> str:
    """Return what tells the chats of one program from another's. user: its own id of a person."""
    client = client_of(request, owner)
    return client and f"{client} {user}"


def _client_id(request: HttpRequest) -> str:
    """Return the header `Idempotency-Key`, which the SDKs keep when they send a request again; "" without one."""
    if (key := request.headers.get("Idempotency-Key")) is None:
        return ""
    return parsing.cleaned({"client_id": key}, {"client_id": parsing.client_id})["client_id"]


def _compared(body: dict[str, Any], transcript: Transcript) -> dict[str, Any]:
    """Return by what a request is recognised as the same."""
    turns = [[turn.role, *(dict(part) for part in turn.parts)] for turn in transcript.turns]
    others = {name: value for name, value in body.items() if name not in _DELIVERY}
    return {"request": json.dumps([transcript.system, turns, others], sort_keys=True)}


def _answer_whole(owner: Owner, message_id: uuid.UUID, has_ended: bool) -> HttpResponse:
    return _answer_rest(owner, message_id, 0, has_ended)


def _answer_rest(owner: Owner, message_id: uuid.UUID, position: int, has_ended: bool) -> HttpResponse:
    reply = find_reply(owner, message_id)
    if has_ended:
        return answer_whole(reply, position)
    return answer_waiting(reply, position) if reply.status == endings.WAITING else late_reply()


chat_completions_view = openai_view(POST=complete)
