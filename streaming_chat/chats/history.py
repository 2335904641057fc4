"""The messages that a new reply comes after: those of the stored branch, and those of the request."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from streaming_chat.conf import conf
from streaming_chat.db.rows import new_row
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol.events import from_parts, has_more_than_text, length

from .branches import branch
from .send_request import Absent, SendRequest
from .tree import messages_of

# The newest that a prompt has, and that a stateless client's request saves: each is a row, however short its text is.
MAX_MESSAGES = 500
# A site's STREAMING_CHAT_PROMPT may use all but the parts.
_IN_PROMPTS = {
    *("id", "conversation", "parent", "depth", "role", "text", "page_context"),
    *("has_more_than_text", "omitted_messages"),
}
_NOT_IN_PROMPTS = {field.name for field in Message._meta.concrete_fields} - _IN_PROMPTS


def stored_messages(conversation: Conversation, send_request: SendRequest, max_chars: int) -> list[Message]:
    """Return the end of the branch that the reply, or the user's text, comes after. Raises APIError: 422.

    max_chars: of all messages but the last together, so that no more is loaded than a prompt has.
    """
    if send_request.conversation_id is None:
        return []
    parent_id = _parent_id(conversation, send_request)
    without = ["parts"] if conf.STREAMING_CHAT_PROMPT else _NOT_IN_PROMPTS
    history = branch(conversation, parent_id, most=MAX_MESSAGES, max_chars=max_chars, without=without)
    _load_parts([message for message in history if message.has_more_than_text])
    if parent_id and parent_id == send_request.parent and not (history and history[-1].is_reply):
        raise unknown_parent()
    if send_request.regenerate and not history:
        raise APIError(422, "invalid", fields={"id": "Must be a reply to a user's message."})
    return history


def _load_parts(messages: Sequence[Message]) -> None:
    """Read the parts of messages that have more than text. Those of others are not needed, and are most of a branch."""
    if not messages:
        return
    columns = ("parts", "position", "cut_position")
    rows = Message.objects.using(messages[0]._state.db).filter(pk__in=[message.pk for message in messages])
    found = {pk: values for pk, *values in rows.values_list("pk", *columns)}
    for message in messages:
        vars(message).update(zip(columns, found[message.pk], strict=True))


def new_messages(
    conversation: Conversation, send_request: SendRequest, ids: Sequence[uuid.UUID], parent: Message | None
) -> list[Message]:
    """Return the messages of the request, not saved: a stateless client's earlier turns, and the user's text."""
    origin = Message.Origin.CLIENT if send_request.stateless else Message.Origin.SERVER
    messages: list[Message] = []
    for pk, turn in zip(ids, [*send_request.earlier, send_request.turn], strict=True):
        parts = [dict(part) for part in turn.parts]
        message = new_row(
            Message,
            id=pk,
            conversation_id=conversation.pk,
            parent_id=parent.pk if parent else None,
            depth=parent.depth + 1 if parent else 0,
            role=turn.role,
            text=turn.text,
            parts=parts,
            position=1 + length(from_parts(parts)),
            cut_position=None,
            origin=origin.value,
            end_reason="stop" if turn.role == Message.Role.ASSISTANT else "",
            page_context=None,
            has_more_than_text=has_more_than_text(parts),
        )
        messages.append(message)
        parent = message
    messages[-1].page_context = send_request.page_context
    return messages


def unknown_parent() -> APIError:
    """Return the error of a parent that is no reply of the conversation."""
    return APIError(422, "invalid", fields={"parent": "Must be a reply of this conversation."})


def _parent_id(conversation: Conversation, send_request: SendRequest) -> uuid.UUID | None:
    """Return the last message of the branch: a reply for a send, a user's message for a regeneration."""
    if send_request.regenerate:
        replies = messages_of(conversation).filter(role=Message.Role.ASSISTANT)
        return replies.get(pk=send_request.regenerate).parent_id
    return conversation.head_id if isinstance(send_request.parent, Absent) else send_request.parent
