"""What an encoder promises: the same events give the same text, live or replayed, however they are divided into calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from streaming_chat.protocol.events import Event


class Encoder(ABC):
    """Turns a reply's events into one wire format, for one reader.

    content_type: of the response. headers: the others that its clients look for.
    heartbeat: bytes without a meaning, which keep a silent connection open; b"" for none.
    is_coalesced: each frame replaces those before it. Such an encoder gets all events from the beginning of the reply, also
        where a client resumes it, and as many at once as there are; how they are divided may change its frames.
    is_resumable: False for a stream that can only begin with the reply, also where a client asks for less.
    message_id: the reply's id, as text.
    """

    content_type: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}
    heartbeat: ClassVar[bytes] = b""
    is_coalesced: ClassVar[bool] = False
    is_resumable: bool = True

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id

    @abstractmethod
    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events. None of them is the ending.

        position: where the first event begins, in the units of protocol/events.py.
        """

    @abstractmethod
    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the frames that end the stream. payload: see protocol/endings.py."""

    def wait(self, payload: dict[str, Any]) -> bytes | None:
        """Return the frames that end the stream of a reply that waits for an answer; None if it stays open meanwhile.

        payload: of the approval event, which has been encoded (see protocol/tool_calls.py).
        """
        return None

    @abstractmethod
    def reset(self) -> bytes:
        """Return the frame that tells the client to discard everything: the stream starts again after it."""
