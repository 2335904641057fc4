"""A stateless client's chat: it sends the whole history with each request."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner, client_of
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.conf import conf
from streaming_chat.providers.base import Turn
from streaming_chat.providers.model_options import EFFORTS

from . import parsing
from .operations import SENDING, operation
from .replies import begin_reply
from .reply_answers import ReplyAnswer, encoder_for
from .streaming import streaming

# Closing the connection is the only way in which such a client can stop its reply.
_GRACE_SECONDS = 0.0


def _history_fields() -> parsing.Fields:
    turns = [_turn_schema(role, check) for role, check in _texts().items()]
    checks = {
        "messages": parsing.Check(_history, {"type": "array", "items": {"anyOf": turns}, "minItems": 1}),
        "model": parsing.text(255, shortest=1),
        "effort": parsing.one_of(*EFFORTS),
        "client_id": parsing.client_id,
    }
    return parsing.Fields(checks, ["messages"])


def _texts() -> dict[str, parsing.Check]:
    """Return the check of a text by its role: a reply of ours may be longer than a message."""
    return {"user": parsing.message_text(), "assistant": parsing.text(conf.STREAMING_CHAT_MAX_REPLY_CHARS, shortest=1)}


def _turn_schema(role: str, check: parsing.Check) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"role": {"const": role}, "content": check.schema},
        "required": ["role", "content"],
        "additionalProperties": False,
    }


@operation(body=_history_fields, headers=("Last-Event-ID",), answers={}, streams=True, errors=SENDING)
def stateless_chat(request: HttpRequest, owner: Owner) -> ReplyAnswer:
    """Answer the history that a client sends, in the conversation of which it has the reply before, or a new one."""
    parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_body(request, *_history_fields())
    turns: list[Turn] = body["messages"]
    send_request = SendRequest.from_body(
        body,
        content=turns[-1].text,
        earlier=turns[:-1],
        body={
            "messages": [[turn.role, turn.text] for turn in turns],
            "model": body.get("model", ""),
            "effort": body.get("effort", ""),
        },
        stateless=True,
        client=client_of(request, owner),
        grace_seconds=_GRACE_SECONDS,
    )
    return begin_reply(request, owner, send_request, encoder=encoder)


def _history(value: Any) -> list[Turn]:
    if not isinstance(value, list) or not value:
        raise ValueError("Must be a list of {role, content}.")
    texts = _texts()
    turns = [_turn(item, texts) for item in value]
    if turns[-1].role != "user":
        raise ValueError("The last message must have the role user.")
    return turns


def _turn(item: Any, texts: dict[str, parsing.Check]) -> Turn:
    if not isinstance(item, dict) or set(item) != {"role", "content"}:
        raise ValueError("Each message must have role and content, and nothing else.")
    role = item["role"]
    if not isinstance(role, str) or role not in texts:
        raise ValueError("The role must be user or assistant.")
    return Turn(role, texts[role](item["content"]))


chat_view = streaming(POST=stateless_chat)
