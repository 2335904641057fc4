"""Where a reader is in a stream, and what it is sent next."""

from __future__ import annotations

from typing import Any

from streaming_chat.encoders import Encoder
from streaming_chat.protocol.events import DELTAS, END, Event

from .stream import ReplyStream

# Django's ASGI handler sends a longer write in pieces of this size (ASGIHandler.chunk_bytes).
_PIECE_BYTES = 65_536
# The most text in one write. A code point takes 12 bytes of JSON at most ("\ud83d\ude00"), so the write stays one piece.
_WRITE_CODE_POINTS = 2_048
_WRITE_EVENTS = 384


class OnePiece(bytes):
    """A write that Django's ASGI handler sends whole, however long it is: a large tool call.

    The handler asks for the length and slices pieces of 65,536 bytes. This says that it is no longer than one piece, and
    a slice is all of it. For that handler only: a WSGI server writes the length that it is told before the bytes.
    """

    def __len__(self) -> int:
        return min(super().__len__(), _PIECE_BYTES)

    def __getitem__(self, key: Any) -> Any:
        return bytes(self) if isinstance(key, slice) else super().__getitem__(key)


class Cursor:
    """Where a reader is in a stream, and what it is sent next. write: what a write is made of."""

    __slots__ = ("_encoder", "_index", "_located", "_position", "_skip", "_stream", "_write", "finished")

    def __init__(self, stream: ReplyStream, encoder: Encoder, position: int = 0, *, write: type[bytes] = bytes) -> None:
        self._stream = stream
        self._encoder = encoder
        self._write = write
        self._position = position
        self._index = self._skip = 0
        self._located = False
        self._locate()
        self.finished = False

    def next(self) -> bytes | None:
        """Return the next write; None when there is nothing new, b"" when the format has no words for what is."""
        if self.finished:
            return None
        stream = self._stream
        events = stream.events
        if not self._located or self._skip or stream.cut is not None:
            return self._next_carefully()
        if self._index == len(events):
            return None
        event = events[self._index]
        if self._index + 1 == len(events) and event.kind in DELTAS and len(event.payload) <= _WRITE_CODE_POINTS:
            # The usual token of a live reply.
            written = self._encoder.encode([event], self._position)
            self._position += len(event.payload)
            self._index += 1
            return written
        return self._next_carefully()

    def _next_carefully(self) -> bytes | None:
        stream = self._stream
        # First: in another thread the cut comes before the ending, which must not be told of a text that went past it.
        ended = stream.ended
        if self._is_past(stream):
            if not stream.is_authoritative and not ended:
                # A follower lags behind the process that gave this position out.
                return None
            if stream.cut is not None and not ended:
                return None
            self._position = self._index = self._skip = 0
            self._located = True
            return self._encoder.reset()
        if not self._located and not self._locate():
            return None
        taken = self._take()
        if taken:
            written = self._encoder.encode(taken, self._position)
            self._position += sum(event.size for event in taken)
            return written if len(written) <= _PIECE_BYTES else self._write(written)
        if ended:
            self.finished = True
            return self._encoder.end(stream.events[-1].payload)
        return None

    def _locate(self) -> bool:
        if found := self._stream.locate(self._position):
            self._index, self._skip = found
            self._located = True
        return self._located

    def _is_past(self, stream: ReplyStream) -> bool:
        limit = stream.position if stream.cut is None else min(stream.cut, stream.position)
        return self._position > limit

    def _take(self) -> list[Event]:
        """Return at most one write's worth of events from here to the cut, and move past them."""
        events, cut = self._stream.events, self._stream.cut
        room = _WRITE_CODE_POINTS
        if cut is not None:
            room = min(room, cut - self._position)
        taken: list[Event] = []
        while room > 0 and self._index < len(events) and len(taken) < _WRITE_EVENTS:
            event = events[self._index]
            if event.kind == END:
                break
            if event.kind in DELTAS:
                text = event.payload[self._skip : self._skip + room]
                taken.append(Event(event.kind, text))
                room -= len(text)
                if self._skip + len(text) < len(event.payload):
                    self._skip += len(text)
                    continue
            else:
                size = len(str(event.payload))
                if taken and size > room:
                    break
                taken.append(event)
                room -= size
            self._index += 1
            self._skip = 0
        return taken
