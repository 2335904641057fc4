"""Stored messages as the AI SDK's UIMessages: what `useChat` would have made of their streams."""

from __future__ import annotations

from typing import Any

from streaming_chat.chats.branches import Page
from streaming_chat.encoders.ai_sdk import LATER_SDK, AISDKEncoder
from streaming_chat.models import Message
from streaming_chat.protocol.events import APPROVAL, START, TOOL_RESULT, Event
from streaming_chat.protocol.tool_calls import DENIED, ERROR, OK, UNKNOWN, is_denied_by_person

from .serializers import received_events

Part = dict[str, Any]

_DELTAS = {"text-delta": "text", "reasoning-delta": "reasoning"}
_CALLS = {"tool-input-available": "input-available", "tool-input-error": "output-error"}
_SOURCES = frozenset({"source-url", "source-document"})
_RESULTS = {"tool-output-available": "output-available", "tool-output-error": "output-error"}
_RESULT_KEYS = ("output", "errorText")
_CALL_KEYS = ("toolCallId", "toolName", "input", "errorText")


def serialize_ui_page(page: Page, *, sdk: int) -> dict[str, Any]:
    """Return a page of a branch. sdk: the version of the client, as for the stream.

    A reply that is being written is left out: its stream begins with the reply, and `useChat` would add it to what it has.
    """
    messages = [_serialize(message, sdk) for message in page.messages if not message.is_live]
    return {"messages": messages, "earlier": str(page.following) if page.following else None}


def _serialize(message: Message, sdk: int) -> dict[str, Any]:
    if not message.is_reply:
        return {"id": str(message.pk), "role": "user", "parts": [_text(message.text)]}
    encoder = AISDKEncoder(str(message.pk), sdk=sdk)
    events = [Event(START, message.start_payload()), *received_events(message)]
    chunks = [*encoder.frames(events, 0), *encoder.ending(message.end_payload())]
    metadata = {key: value for chunk in chunks for key, value in chunk.get("messageMetadata", {}).items()}
    # The AI SDK accepts no message without a part, such as a reply that has failed at once.
    parts = _parts_of(chunks) or [_text("")]
    if sdk >= LATER_SDK:
        _add_approvals(str(message.pk), parts, events)
    return {"id": str(message.pk), "role": "assistant", "metadata": metadata, "parts": parts}


def _parts_of(chunks: list[dict[str, Any]]) -> list[Part]:
    parts: list[Part] = []
    calls: dict[str, Part] = {}
    for chunk in chunks:
        if chunk["type"] in _RESULTS:
            state = _RESULTS[chunk["type"]]
            calls[chunk["toolCallId"]] |= {"state": state, **{key: chunk[key] for key in _RESULT_KEYS if key in chunk}}
        elif part := _part_of(chunk):
            parts.append(part)
            calls[part.get("toolCallId", "")] = part
    return parts


def _add_approvals(message_id: str, parts: list[Part], events: list[Event]) -> None:
    """Add to calls what a person has answered, as it is in a part whose client has answered."""
    asked = {call["id"] for event in events if event.kind == APPROVAL for call in _of_server(event)}
    results = {event.payload["id"]: event.payload for event in events if event.kind == TOOL_RESULT}
    for part in parts:
        if (result := results.get(part.get("toolCallId"))) is None or result["id"] not in asked:
            continue
        approval = {"id": f"{message_id}/{result['id']}", "approved": result["status"] != DENIED}
        if is_denied_by_person(result):
            part.pop("errorText", None)
            part |= {"state": "output-denied", "approval": approval}
        elif result["status"] in (OK, ERROR, UNKNOWN):
            part |= {"approval": approval}


def _of_server(approval: Event) -> list[dict[str, Any]]:
    return [call for call in approval.payload["calls"] if call["runs"] == "server"]


def _part_of(chunk: dict[str, Any]) -> Part | None:
    """Return the part that a chunk of the stream begins. A text has one delta here."""
    kind = chunk["type"]
    if kind == "start-step":
        return {"type": "step-start"}
    if kind in _DELTAS:
        return {"type": _DELTAS[kind], "text": chunk["delta"], "state": "done"}
    if kind in _CALLS:
        call = {key: chunk[key] for key in _CALL_KEYS if key in chunk}
        return {"type": "dynamic-tool", "state": _CALLS[kind], **call}
    return chunk if kind in _SOURCES else None


def _text(text: str) -> Part:
    return {"type": "text", "text": text, "state": "done"}
