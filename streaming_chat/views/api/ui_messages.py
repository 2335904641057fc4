"""What a request of the AI SDK's `useChat` says: which message is to be answered, and what it comes after.

A request without a new message answers tool calls of the reply that the client shows (see client_answers.py).

A client sends all messages that it shows, or the last one alone. The history is ours: only the text of the last message is
taken, which is the user's, and the ids of replies, if they are of this conversation. A client has them from our streams.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from streaming_chat.chats.chat_ids import MAX_CHAT_ID
from streaming_chat.chats.send_request import ABSENT
from streaming_chat.chats.tree import messages_of
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message, MessageQuerySet

from . import parsing

_MAX_ID = 256
# Of the AI SDK; of AG-UI.
_FILES = frozenset({"file", "image", "audio", "video", "document", "binary"})
SUBMIT, REGENERATE = "submit-message", "regenerate-message"


@dataclass(frozen=True, kw_only=True, repr=False)
class Turn:
    """The message to answer.

    after: the reply that the client shows before it, None for none that is ours. target: of `messageId`, the message that
    is edited, or the reply to write again; None for none that is ours. is_edit: whether it replaces another message.
    is_repeated: whether it is to be answered again.
    """

    text: str
    after: uuid.UUID | None
    target: uuid.UUID | None
    is_edit: bool
    is_repeated: bool

    @classmethod
    def of(cls, body: dict[str, Any]) -> Turn:
        """Return what a checked body asks for. Raises APIError: 422."""
        messages = messages_in(body)
        is_repeated = body.get("trigger") == REGENERATE
        return cls(
            text=_text(messages[-1]),
            after=_reply_before(messages[:-1]),
            target=_uuid(body.get("messageId")),
            is_edit=bool(body.get("messageId")) and not is_repeated,
            is_repeated=is_repeated,
        )

    def place(self, conversation: Conversation) -> dict[str, Any]:
        """Return `regenerate` or `parent` of a SendRequest in this conversation."""
        replies = messages_of(conversation).filter(role=Message.Role.ASSISTANT)
        after = _existing(replies, self.after)
        if self.is_repeated and (reply := self._reply_to_repeat(conversation, replies, after)):
            return {"regenerate": reply}
        if after is None and self.is_edit:
            return {"parent": self._parent_of_edited(conversation)}
        return {"parent": after or ABSENT}

    def _reply_to_repeat(
        self, conversation: Conversation, replies: MessageQuerySet, after: uuid.UUID | None
    ) -> uuid.UUID | None:
        """Return it; None for a message that has no reply, since its request was refused."""
        if reply := _existing(replies, self.target):
            return reply
        answered = replies.filter(Q(parent__parent=after) if after else Q(pk=conversation.head_id))
        newest = answered.filter(parent__text=self.text).order_by("-created_at", "-id")
        return newest.values_list("pk", flat=True).first()

    def _parent_of_edited(self, conversation: Conversation) -> uuid.UUID | None:
        """Return what an edited message comes after, None for nothing: it is the first one that the client shows."""
        edited = messages_of(conversation).filter(Q(pk=self.target))
        return edited.values_list("parent", flat=True).first()


def messages_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a checked body. Raises APIError: 422."""
    messages = [body["message"]] if "message" in body else body.get("messages")
    if not messages:
        raise APIError(422, "invalid", fields={"messages": "This field is required."})
    return messages


def answered_message(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the message of ours whose tool calls a checked body may answer; None if it sends a message of the user's."""
    messages = messages_in(body)
    if body.get("trigger") == REGENERATE:
        return None
    # A message of the user's may follow it, whose request was refused while the reply waited.
    named = [message for message in messages if body.get("messageId") and message.get("id") == body["messageId"]]
    message = (named or messages)[-1]
    return message if message.get("role") == Message.Role.ASSISTANT else None


def reply_of(conversation: Conversation, message_id: Any) -> Message | None:
    """Return the reply with an id that a client has sent, with its conversation; None if there is none."""
    if (pk := _uuid(message_id)) is None:
        return None
    replies = messages_of(conversation).filter(role=Message.Role.ASSISTANT, pk=pk)
    return replies.select_related("conversation").first()


def answer_in(message: dict[str, Any], call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a call in a message of the AI SDK, as the native API takes it; None without one."""
    parts = message.get("parts")
    tools = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    part = next((part for part in tools if part.get("toolCallId") == call["id"]), {})
    if call["runs"] == "client":
        return _output_in(part, call["id"])
    approval = part.get("approval")
    if not isinstance(approval, dict) or "approved" not in approval:
        return None
    return {"call": call["id"], "approved": approval["approved"], "reason": approval.get("reason") or ""}


def _output_in(part: dict[str, Any], call_id: str) -> dict[str, Any] | None:
    """Return what a client's tool has returned; of one that failed, why."""
    if part.get("state") == "output-available":
        return {"call": call_id, "output": part.get("output")}
    if part.get("state") == "output-error":
        return {"call": call_id, "output": {"error": part.get("errorText")}}
    return None


def checks() -> dict[str, parsing.Check]:
    """Return the checks of the fields that the AI SDK and assistant-ui send."""
    return {
        "id": parsing.text(MAX_CHAT_ID, shortest=1),
        "threadId": parsing.text(MAX_CHAT_ID, shortest=1),
        "messages": _messages,
        "message": _message,
        "trigger": parsing.one_of(SUBMIT, REGENERATE),
        "messageId": parsing.optional(parsing.text(_MAX_ID)),
    }


@parsing.check(type="array", items={"type": "object"}, minItems=1)
def _messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise ValueError("Must be a list of messages.")
    return [_message(message) for message in value]


@parsing.check(type="object")
def _message(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("Each message must be an object.")
    return value


def _text(message: dict[str, Any]) -> str:
    """Return the text of a message from the user. Raises APIError: 422."""
    try:
        if message.get("role") != "user":
            raise ValueError("The last message must have the role user.")
        return str(parsing.message_text()(_joined(message.get("parts", message.get("content")))))
    except ValueError as error:
        raise APIError(422, "invalid", fields={"messages": str(error)}) from None


def _joined(parts: Any) -> str:
    """Return the text of `parts` (ai 5 and later) or `content` (a model message, or ai 4)."""
    if isinstance(parts, str):
        return parts
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError("A message must have parts.")
    if any(part.get("type") in _FILES for part in parts):
        raise ValueError(_("This chat does not accept files."))
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _reply_before(messages: list[dict[str, Any]]) -> uuid.UUID | None:
    ids = (message.get("id") for message in reversed(messages) if message.get("role") == "assistant")
    return _uuid(next(ids, None))


def _existing(messages: MessageQuerySet, pk: uuid.UUID | None) -> uuid.UUID | None:
    return pk if pk and messages.filter(pk=pk).exists() else None


def _uuid(value: Any) -> uuid.UUID | None:
    try:
        return parsing.identifier(value)
    except ValueError:
        return None
