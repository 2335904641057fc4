"""The JSON of conversations and messages, as docs/http-api.md describes it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

from streaming_chat.chats.branches import siblings_of
from streaming_chat.chats.tree import Siblings
from streaming_chat.engine import lookup
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import error_object
from streaming_chat.models import Conversation, Feedback, Message, ToolCall
from streaming_chat.protocol import events
from streaming_chat.protocol.events import Event

# Whether the owner may answer tool calls of a conversation.
MayAnswer: TypeAlias = Callable[[Conversation], bool]


def serialize_conversation(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation without its messages; never its system prompt."""
    return {
        "id": str(conversation.pk),
        "title": conversation.title,
        "model": conversation.model,
        "head": _id(conversation.head_id),
        "last_status": conversation.last_status,
        "message_count": conversation.message_count,
        "metadata": conversation.metadata,
        "created_at": _time(conversation.created_at),
        "last_activity": _time(conversation.last_activity),
    }


def serialize_messages(
    messages: Iterable[Message], owner_key: str, may_answer: MayAnswer | None = None
) -> list[dict[str, Any]]:
    """Return messages of one conversation, in the order given; two queries whatever their number.

    may_answer: is asked about a live reply that has waited, and whose state then says so.
    """
    messages = list(messages)
    if not messages:
        return []
    # From the same database as the messages: a replica may not have them yet.
    using = messages[0]._state.db
    siblings = siblings_of(messages)
    feedback = {
        given.message_id: given
        for given in Feedback.objects.using(using).filter(
            message__in=[message.pk for message in messages], owner_key=owner_key
        )
    }
    return [
        _serialize_message(message, siblings[message.pk], feedback.get(message.pk))
        | (_live_state(message, may_answer) if message.is_live else {})
        for message in messages
    ]


def serialize_message(message: Message, owner_key: str, may_answer: MayAnswer | None = None) -> dict[str, Any]:
    """Return one message, with live state while it is written. may_answer: as for `serialize_messages`."""
    return serialize_messages([message], owner_key, may_answer)[0]


def _serialize_message(message: Message, siblings: Siblings, feedback: Feedback | None) -> dict[str, Any]:
    return {
        "id": str(message.pk),
        "conversation": str(message.conversation_id),
        "parent": _id(message.parent_id),
        "continues": _id(message.continues_id),
        "role": message.role,
        "text": message.text,
        "parts": events.to_parts(message.events()),
        "status": message.status,
        "end_reason": message.end_reason,
        "can_continue": message.can_continue,
        "error": error_object(message.error_code, ref=message.ref) if message.error_code else None,
        "model": message.model,
        "effort": message.effort,
        "output_name": message.output_name,
        "output": message.output,
        "output_error": error_object(message.output_error) if message.output_error else None,
        "finish_reason": message.finish_reason,
        "usage": message.usage,
        "cost": None if message.cost is None else str(message.cost),
        "first_event_ms": message.first_event_ms,
        "reasoning_ms": message.reasoning_ms,
        "duration_ms": message.duration_ms,
        "position": message.end_position,
        "created_at": _time(message.created_at),
        "ended_at": _time(message.ended_at),
        "feedback": feedback and {"value": feedback.value, "comment": feedback.comment},
        "siblings": {
            "index": siblings.index,
            "count": siblings.count,
            "previous": _id(siblings.previous),
            "next": _id(siblings.next),
        },
    }


def _live_state(message: Message, may_answer: MayAnswer | None) -> dict[str, Any]:
    """Return what has been received of a live reply."""
    received = live_events(message)
    state = {
        "text": events.text_of(received),
        "parts": events.to_parts(received),
        "position": 1 + events.length(received),
    }
    if any(event.kind == events.APPROVAL for event in received):
        state["answers"] = [{"call": call, "approved": approved} for call, approved in answers_to(message).items()]
        if may_answer:
            state["may_answer"] = may_answer(message.conversation)
    return state


def answers_to(message: Message) -> dict[str, bool]:
    """Return whether a call of a live reply was allowed, by its id; without calls that have not been answered."""
    rows = ToolCall.objects.using(message._state.db).filter(message=message, answered_at__isnull=False)
    return {call_id: (answer or {}).get("approved", True) for call_id, answer in rows.values_list("call_id", "answer")}


def received_events(message: Message) -> list[Event]:
    """Return a message as its owner sees it, without start and ending; of a live reply, what has been received."""
    if message.is_live:
        return live_events(message)
    return message.events() or [Event(events.TEXT, message.text)] * bool(message.text)


def live_events(message: Message) -> list[Event]:
    """Return what has been received of a live reply, without start and ending."""
    run = runner.find(message.pk)
    received = run.events[1:] if run else lookup.read_all(message.pk).events
    return [event for event in received if event.kind != events.END]


def _id(value: uuid.UUID | None) -> str | None:
    return str(value) if value else None


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
