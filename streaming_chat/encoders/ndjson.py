"""The ndjson format: one JSON object on each line, with the data of the simple format and the event's name and id.

Source: https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from streaming_chat.protocol.events import DELTAS, END, TEXT, Event, merge

from .base import Encoder
from .simple import as_json, ending_data, ending_name, event_data, event_name


class NDJSONEncoder(Encoder):
    """One line per event; consecutive deltas of one kind share a line."""

    content_type = "application/x-ndjson; charset=utf-8"
    # Not an empty line: not every parser skips those.
    heartbeat = b'{"event":"heartbeat"}\n'

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the lines of these events."""
        if len(events) == 1 and events[0].kind == TEXT:
            # The usual token of a live reply.
            text = events[0].payload
            return (
                f'{{"event":"text","id":"{self.message_id}/{position + len(text)}","text":{quoted(text)}}}\n'.encode()
            )
        lines: list[bytes] = []
        for event in merge(events):
            position += event.size
            name = event.kind if event.kind in DELTAS else event_name(event.kind)
            lines.append(self._line(name, position, event_data(event)))
        return b"".join(lines)

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the line of the ending, which is the last one."""
        return self._line(ending_name(payload), END, ending_data(payload))

    def reset(self) -> bytes:
        """Return the line `reset`."""
        return self._line("reset", 0, {})

    def _line(self, event: str, position: int | str, data: dict[str, Any]) -> bytes:
        return f"{as_json({'event': event, 'id': f'{self.message_id}/{position}', **data})}\n".encode()
