"""The json format: Server-Sent Events, each of which has the whole object that a reply consists of, as far as it is written.

The newest one replaces those before it, so a client needs no parser for incomplete JSON, and a reader that is behind gets
the newest only. Start and ending are those of the simple format.
"""

from __future__ import annotations

from typing import Any

from streaming_chat.protocol.events import START, TEXT, Event
from streaming_chat.protocol.json_objects import GrowingObject

from .simple import SimpleEncoder, as_json


class GrowingObjectEncoder(SimpleEncoder):
    """One frame whenever the object has grown."""

    is_coalesced = True

    def __init__(self, message_id: str) -> None:
        super().__init__(message_id)
        self._growing = GrowingObject()

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the start, if it is here, and the object if it has changed."""
        start = b""
        for event in events:
            position += event.size
            if event.kind == TEXT:
                self._growing.add(event.payload)
            elif event.kind == START:
                start = super().encode([event], position - 1)
        return start + self._object(position)

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the ending, with the text if there is no valid object."""
        return super().end(payload if payload.get("output") is not None else {**payload, "text": self._growing.text})

    def reset(self) -> bytes:
        """Return the `reset` frame."""
        self._growing = GrowingObject()
        return super().reset()

    def _object(self, position: int) -> bytes:
        if not (self._growing.is_due and self._growing.look()):
            return b""
        try:
            data = as_json({"output": self._growing.value})
        except ValueError:
            # A number that is too large, which becomes an error at the ending.
            return b""
        return f"id: {self.message_id}/{position}\ndata: {data}\n\n".encode()
