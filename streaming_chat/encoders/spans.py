"""What AG-UI and the AI SDK have in common: frames of JSON objects, and spans of text that are opened and closed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, ClassVar, NamedTuple

from streaming_chat.protocol.events import DELTAS, Event, merge
from streaming_chat.protocol.sse import HEARTBEAT

from .base import Encoder
from .simple import as_json

Frame = dict[str, Any]


class Span(NamedTuple):
    """What stands before deltas of one kind, each of them without its text, and what stands after them."""

    opening: list[Frame]
    delta: Frame
    closing: list[Frame]


class SpanEncoder(Encoder):
    """One frame for each object of the protocol. One span is open at a time.

    continues: the client has what precedes the position from which it reads: a reply that has waited for its answer.
    """

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = HEARTBEAT
    # A client knows a span by its opening, and the protocols have no ids to resume from. No span is open at an approval.
    is_resumable = False
    # What follows the last frame.
    terminator: ClassVar[bytes] = b""

    def __init__(self, message_id: str, *, continues: bool = False) -> None:
        super().__init__(message_id)
        self.is_resumable = self.continues = continues
        self._has_begun = not continues
        self._kind = self._before_text = ""
        self._span = Span([], {}, [])
        self._is_over = False

    @abstractmethod
    def span(self, kind: str, position: int) -> Span:
        """Return the span of the deltas of this kind that begin here."""

    @abstractmethod
    def whole(self, event: Event, position: int) -> Iterable[Frame]:
        """Return the frames of an event that is not a delta."""

    @abstractmethod
    def beginning(self) -> Iterable[Frame]:
        """Return what begins the stream of a reply that goes on, in place of its start."""

    @abstractmethod
    def waiting(self, payload: dict[str, Any]) -> Iterable[Frame]:
        """Return the frames that end the stream of a reply that waits. payload: of the approval event."""

    @abstractmethod
    def ending(self, payload: dict[str, Any]) -> Iterable[Frame]:
        """Return the frames of the ending, before which the span is closed."""

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events; none after a reset, since the client keeps what it has."""
        if self._is_over:
            return b""
        if len(events) == 1 and events[0].kind == self._kind:
            # The usual token of a live reply.
            return f"{self._before_text}{quoted(events[0].payload)}}}\n\n".encode()
        return _encoded([*self._begin(), *self.frames(events, position)])

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the frames that end the stream."""
        return _encoded([*self._begin(), *self.close(), *self.ending(payload)]) + self.terminator

    def wait(self, payload: dict[str, Any]) -> bytes:
        """Return the frames that end the stream: the client answers with a request of its own."""
        return _encoded([*self._begin(), *self.close(), *self.waiting(payload)]) + self.terminator

    def reset(self) -> bytes:
        """Return nothing: the protocols cannot take back a text. The ending follows."""
        self._is_over = True
        return b""

    def frames(self, events: Iterable[Event], position: int) -> Iterator[Frame]:
        """Yield the frames of these events. Neighbouring deltas of one kind have one frame."""
        for event in merge(events):
            yield from self._delta(event, position) if event.kind in DELTAS else self.whole(event, position)
            position += event.size

    def close(self) -> list[Frame]:
        """Return the frames that close the span, if one is open."""
        closing, self._kind, self._span = self._span.closing, "", Span([], {}, [])
        return closing

    def _begin(self) -> Iterable[Frame]:
        has_begun, self._has_begun = self._has_begun, True
        return [] if has_begun else self.beginning()

    def _delta(self, event: Event, position: int) -> Iterator[Frame]:
        if event.kind != self._kind:
            yield from self.close()
            self._kind, self._span = event.kind, self.span(event.kind, position)
            self._before_text = f'data: {as_json(self._span.delta)[:-1]},"delta":'
            yield from self._span.opening
        yield {**self._span.delta, "delta": event.payload}


def _encoded(frames: Iterable[Frame]) -> bytes:
    return "".join(f"data: {as_json(frame)}\n\n" for frame in frames).encode()
