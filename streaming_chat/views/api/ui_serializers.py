"""Stored messages as the AI SDK's UIMessages: what `useChat` would have made of their streams."""

from __future__ import annotations

from typing import Any

from streaming_chat.chats.branches import Page
from streaming_chat.encoders.ai_sdk import AISDKEncoder
from streaming_chat.models import Message
from streaming_chat.protocol.events import START, Event

from .serializers import received_events

Part = dict[str, Any]

_DELTAS = {"text-delta": "text", "reasoning-delta": "reasoning"}
_CALLS = {"tool-input-available": "input-available", "tool-input-error": "output-error"}
_SOURCES = frozenset({"source-url", "source-document"})
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
    parts = [part for chunk in chunks if (part := _part_of(chunk))] or [_text("")]
    return {"id": str(message.pk), "role": "assistant", "metadata": metadata, "parts": parts}


def _part_of(chunk: dict[str, Any]) -> Part | None:
    """Return the part that a chunk of the stream makes. A text has one delta here."""
    kind = chunk["type"]
    if kind in _DELTAS:
        return {"type": _DELTAS[kind], "text": chunk["delta"], "state": "done"}
    if kind in _CALLS:
        call = {key: chunk[key] for key in _CALL_KEYS if key in chunk}
        return {"type": "dynamic-tool", "state": _CALLS[kind], **call}
    return chunk if kind in _SOURCES else None


def _text(text: str) -> Part:
    return {"type": "text", "text": text, "state": "done"}
