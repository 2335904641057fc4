"""Where a reader is in a stream, and what it is sent next."""

from __future__ import annotations

import sys

from streaming_chat.encoders import Encoder
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import DELTAS, END, Event

from .stream import ReplyStream

# The most text in one write. A code point takes 12 bytes of JSON at most ("\ud83d\ude00"), so the write stays one piece.
_WRITE_CODE_POINTS = 2_048
_WRITE_EVENTS = 384


class Cursor:
    """Where a reader is in a stream, and what it is sent next. finished: the ending has been sent."""

    __slots__ = ("_encoder", "_index", "_located", "_position", "_skip", "_stream", "finished")

    def __init__(self, stream: ReplyStream, encoder: Encoder, position: int = 0) -> None:
        self._stream = stream
        self._encoder = encoder
        # What a coalesced format says depends on everything that comes before.
        self._position = position if encoder.is_resumable and not encoder.is_coalesced else 0
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
            return self._next_checked()
        if self._index == len(events):
            return self._wait()
        event = events[self._index]
        if self._index + 1 == len(events) and event.kind in DELTAS and len(event.payload) <= _WRITE_CODE_POINTS:
            # The usual token of a live reply.
            written = self._encoder.encode([event], self._position)
            self._position += len(event.payload)
            self._index += 1
            return written
        return self._next_checked()

    def _next_checked(self) -> bytes | None:
        # First: in another thread the cut comes before the ending, which must not follow a text that went past the cut.
        has_ended = self._stream.ended
        if self._is_past_end():
            return self._start_over() if self._may_start_over(has_ended) else None
        if not self._located and not self._locate():
            return None
        if taken := self._take():
            return self._encoded(taken)
        return self._end() if has_ended else self._wait()

    def _wait(self) -> bytes | None:
        """Return the end of the stream, if the reply waits for an answer and the format does not stay open meanwhile."""
        events = self._stream.events
        # Both, since another thread may add events between the two looks.
        if not self._stream.is_waiting or self._index != len(events):
            return None
        written = self._encoder.wait(events[self._index - 1].payload)
        self.finished = written is not None
        return written

    def _locate(self) -> bool:
        if found := self._stream.locate(self._position):
            self._index, self._skip = found
            self._located = True
        return self._located

    def _is_past_end(self) -> bool:
        stream = self._stream
        end = stream.position if stream.cut is None else min(stream.cut, stream.position)
        return self._position > end

    def _may_start_over(self, has_ended: bool) -> bool:
        """Return whether a position past the end is invalid. A follower lags behind the process that gave it out."""
        return has_ended or (self._stream.is_authoritative and self._stream.cut is None)

    def _start_over(self) -> bytes:
        self._position = self._index = self._skip = 0
        self._located = True
        return self._encoder.reset()

    def _encoded(self, taken: list[Event]) -> bytes:
        written = self._encoder.encode(taken, self._position)
        self._position += sum(event.size for event in taken)
        return written

    def _end(self) -> bytes:
        self.finished = True
        return self._encoder.end(self._stream.events[-1].payload)

    def _take(self) -> list[Event]:
        """Return at most one write's worth of events from here to the cut, and move past them."""
        events, cut = self._stream.events, self._stream.cut
        longest, most = (
            (sys.maxsize, sys.maxsize) if self._encoder.is_coalesced else (_WRITE_CODE_POINTS, _WRITE_EVENTS)
        )
        room = longest if cut is None else min(longest, cut - self._position)
        taken: list[Event] = []
        while room > 0 and self._index < len(events) and len(taken) < most:
            event = events[self._index]
            if event.kind == END:
                break
            if event.kind in DELTAS:
                event = self._take_text(event, room)
                room -= len(event.payload)
            else:
                size = len(str(event.payload))
                if taken and size > room:
                    break
                room -= size
                self._index += 1
            taken.append(event)
        return taken

    def _take_text(self, event: Event, room: int) -> Event:
        """Return what is left of a delta, at most `room` code points of it, and move past that."""
        text = event.payload[self._skip : self._skip + room]
        if self._skip + len(text) < len(event.payload):
            self._skip += len(text)
        else:
            self._index += 1
            self._skip = 0
        return Event(event.kind, text)


class DeniedCursor:
    """One ending, in place of what the stream still has."""

    __slots__ = ("_code", "_encoder", "finished")

    def __init__(self, encoder: Encoder, code: str) -> None:
        self._encoder = encoder
        self._code = code
        self.finished = False

    def next(self) -> bytes | None:
        """Return the ending, once; in the reader's context, so that it is in the reader's language."""
        if self.finished:
            return None
        self.finished = True
        return self._encoder.end(endings.payload(Ending(endings.FAILED, error_code=self._code), "", None))
