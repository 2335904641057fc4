"""The text format: the text of the reply and nothing else, for `curl` and scripts.

A reply that is not completed ends with a line that says so. The text of a model can look the same, so a program that must
know how a reply ended reads another format.
"""

from __future__ import annotations

from typing import Any

from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event, text_of

from .base import Encoder


class TextEncoder(Encoder):
    """Plain text has no place for a heartbeat, or for an id: a client that resumes counts code points."""

    content_type = "text/plain; charset=utf-8"

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the text of these events."""
        return text_of(events).encode()

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return a line with the status and the reason, unless the reply is completed."""
        if payload["status"] == endings.COMPLETED:
            return b""
        reason = payload.get("error_code") or payload.get("end_reason") or ""
        return f"\n[{payload['status']}: {reason}]\n".encode()

    def reset(self) -> bytes:
        """Return a line that says that the text starts again."""
        return b"\n[reset]\n"
