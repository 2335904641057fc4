"""What an encoder promises: the same events give the same format, live and replayed, wherever they were cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from streaming_chat.protocol.events import Event


class Encoder(ABC):
    """Turns a reply's events into one wire format, for one reader.

    content_type: of the response. heartbeat: bytes that keep a silent connection open and mean nothing; b"" for none.
    """

    content_type: ClassVar[str]
    heartbeat: ClassVar[bytes] = b""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id

    @abstractmethod
    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events, the first of which begins at `position`; no ending among them."""

    @abstractmethod
    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the frames that end the stream."""

    @abstractmethod
    def reset(self) -> bytes:
        """Return the frame that takes back all that was sent: the stream begins again after it."""
