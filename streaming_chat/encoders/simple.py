"""The simple format: Server-Sent Events whose data is one line of ASCII JSON with a `text` key.

A client that only splits the stream at line breaks and appends each `text` shows the reply correctly.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from streaming_chat.exceptions import error_object
from streaming_chat.protocol.events import (
    APPROVAL,
    DELTAS,
    END,
    REASONING,
    SOURCE,
    START,
    STEP,
    TEXT,
    TOOL_CALL,
    TOOL_RESULT,
    Event,
)
from streaming_chat.protocol.sse import HEARTBEAT

from .base import Encoder

# How long EventSource waits before it connects again, in milliseconds; its own time is 3 s or more.
RETRY = b"retry: 1000\n"
_NAMED = frozenset({START, TOOL_CALL, SOURCE, STEP, TOOL_RESULT, APPROVAL})
_ENDINGS = {"completed": "done", "stopped": "stopped", "interrupted": "interrupted", "failed": "failed"}


class SimpleEncoder(Encoder):
    """One frame per event; consecutive deltas of one kind share a frame."""

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = HEARTBEAT

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events. Each delta has at most 4 096 code points: the caller sees to it."""
        if len(events) == 1 and events[0].kind == TEXT:
            # One delta, as for most tokens of a live reply: this takes half the time of the general case.
            text = events[0].payload
            return f'id: {self.message_id}/{position + len(text)}\ndata: {{"text":{quoted(text)}}}\n\n'.encode()
        frames: list[str] = []
        waiting: list[str] = []
        for index, (kind, payload) in enumerate(events):
            if kind in DELTAS:
                position += len(payload)
                waiting.append(payload)
                if index + 1 < len(events) and events[index + 1].kind == kind:
                    continue
                frames.append(self._delta(kind, "".join(waiting), position))
                waiting.clear()
            else:
                position += 1
                frames.append(self._whole(Event(kind, payload), position))
        return "".join(frames).encode()

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the ending, and `[DONE]`."""
        name, data = ending_name(payload), as_json(ending_data(payload))
        return f"id: {self.message_id}/{END}\nevent: {name}\ndata: {data}\n\ndata: [DONE]\n\n".encode()

    def reset(self) -> bytes:
        """Return the `reset` frame."""
        return f'id: {self.message_id}/0\nevent: reset\ndata: {{"text":""}}\n\n'.encode()

    def _delta(self, kind: str, text: str, position: int) -> str:
        if kind == REASONING:
            head, data = "event: reasoning\n", f'{{"text":"","reasoning":{quoted(text)}}}'
        else:
            head, data = "", f'{{"text":{quoted(text)}}}'
        return f"id: {self.message_id}/{position}\n{head}data: {data}\n\n"

    def _whole(self, event: Event, position: int) -> str:
        head = RETRY.decode() if event.kind == START else ""
        name, data = event_name(event.kind), as_json(event_data(event))
        return f"{head}id: {self.message_id}/{position}\nevent: {name}\ndata: {data}\n\n"


def event_name(kind: str) -> str:
    """Return the name of an event that is not a delta; kinds of newer versions begin with x-."""
    return kind if kind in _NAMED else f"x-{kind}"


def event_data(event: Event) -> dict[str, Any]:
    """Return what an event says."""
    kind, payload = event
    if kind == TEXT:
        return {"text": payload}
    return {"text": "", **(payload if kind == START else {kind: payload})}


def ending_name(payload: dict[str, Any]) -> str:
    """Return the name of the event that ends a stream."""
    return _ENDINGS.get(payload["status"], "failed")


def ending_data(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what an ending says, with its errors as clients get them."""
    data = {"text": "", **payload}
    ref = data.pop("ref", "")
    if code := data.pop("error_code", ""):
        data["error"] = error_object(code, ref=ref)
    elif ending_name(payload) != "done":
        data["error"] = None
    if "output_error" in data:
        code = data["output_error"]
        data["output_error"] = error_object(code) if code else None
    return data


def as_json(data: dict[str, Any]) -> str:
    """Return JSON on one line, in ASCII."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
