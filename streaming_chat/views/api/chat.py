"""A stateless client's chat: it sends the whole history with each request."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.chats.history import MAX_MESSAGES
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.providers.base import Turn
from streaming_chat.providers.model_options import EFFORTS

from . import parsing
from .operations import SENDING, operation
from .replies import begin_reply
from .reply_answers import ReplyAnswer, encoder_for
from .streaming import streaming

# Closing the connection is the only way in which such a client can stop its reply.
_GRACE_SECONDS = 0.0


class _History(NamedTuple):
    turns: list[Turn]
    omitted: int


def _history_fields() -> parsing.Fields:
    turn = {
        "type": "object",
        "properties": {"role": {"enum": ["user", "assistant"]}, "content": parsing.message_text().schema},
        "required": ["role", "content"],
        "additionalProperties": False,
    }
    checks = {
        "messages": parsing.Check(_history, {"type": "array", "items": turn, "minItems": 1}),
        "model": parsing.text(255, shortest=1),
        "effort": parsing.one_of(*EFFORTS),
        "client_id": parsing.client_id,
    }
    return parsing.Fields(checks, ["messages"])


@operation(body=_history_fields, headers=("Last-Event-ID",), answers={}, streams=True, errors=SENDING)
def stateless_chat(request: HttpRequest, owner: Owner) -> ReplyAnswer:
    """Answer the history that a client sends, and save it as a conversation of its own."""
    parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_body(request, *_history_fields())
    turns, omitted = body["messages"]
    send_request = SendRequest.from_body(
        body,
        content=turns[-1].text,
        earlier=turns[:-1],
        omitted=omitted,
        body={
            "messages": [[turn.role, turn.text] for turn in turns],
            "omitted": omitted,
            "model": body.get("model", ""),
            "effort": body.get("effort", ""),
        },
        stateless=True,
        grace_seconds=_GRACE_SECONDS,
    )
    return begin_reply(request, owner, send_request, encoder=encoder)


def _history(value: Any) -> _History:
    if not isinstance(value, list) or not value:
        raise ValueError("Must be a list of {role, content}.")
    turns = [_turn(item) for item in value[-MAX_MESSAGES:]]
    if turns[-1].role != "user":
        raise ValueError("The last message must have the role user.")
    return _History(turns, len(value) - len(turns))


def _turn(item: Any) -> Turn:
    if not isinstance(item, dict) or set(item) != {"role", "content"}:
        raise ValueError("Each message must have role and content, and nothing else.")
    if item["role"] not in ("user", "assistant"):
        raise ValueError("The role must be user or assistant.")
    return Turn(item["role"], parsing.message_text()(item["content"]))


chat_view = streaming(POST=stateless_chat)
