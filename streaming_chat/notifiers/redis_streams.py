"""What a RedisNotifier keeps in Redis: the streams' keys, their entries, and the commands that add them. No I/O.

Every followed reply, every worker and every process has a stream. An entry has one field, which says what it is. All
streams expire: an entry is added in one transaction with the expiry of its stream.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from streaming_chat.protocol.events import DELTAS, END, START, Event, after, length, merge

# JSON of [position, events]; the database has more; the hexadecimal id of a reply whose row must be read; a heartbeat.
EVENTS, CHANGED, WAKE, HEARTBEAT = b"events", b"changed", b"wake", b"heartbeat"

# Redis drops whole nodes of a stream, so up to 100 entries more are kept.
_MAX_ENTRIES = 256
# Code points of one entry. Of more than that, as after an outage, the database has all but the end.
_MAX_UNITS = 16_384
# A tool call is one unit, however long its arguments are. A longer entry is left to the database.
_MAX_BYTES = 262_144
# How long a stream is kept after the ending of its reply, for readers that come just then.
_LINGER_SECONDS = 10.0

# json.dumps makes an encoder for each call that names separators.
_encode_json = json.JSONEncoder(separators=(",", ":")).encode

Command = tuple[Any, ...]


class Keys:
    """The names of the streams. The hash tag keeps them on one server where a proxy distributes keys."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{{{prefix}}}"

    def reply(self, message_id: uuid.UUID) -> bytes:
        return f"{self._prefix}:reply:{message_id.hex}".encode()

    def worker(self, worker: str) -> bytes:
        return f"{self._prefix}:worker:{worker}".encode()

    def process(self) -> bytes:
        """Return the key of a new stream, which only one process uses."""
        return f"{self._prefix}:process:{uuid.uuid4().hex}".encode()


class Notification(NamedTuple):
    """An entry without events."""

    key: bytes
    field: bytes
    value: bytes = b""

    def commands(self) -> list[Command]:
        # NX, since events may have given the stream an expiry already.
        return [_add(*self), _expire(self.key, _LINGER_SECONDS, "NX")]


class Publication:
    """A reply whose events are added to its stream, and how many of them Redis has.

    events: all of the reply, a list that grows. expire_seconds: how long the stream is kept after its last event.
    """

    def __init__(self, key: bytes, events: Sequence[Event], expire_seconds: float) -> None:
        self.key, self.events, self._expire_seconds = key, events, expire_seconds
        self.has_ended = False
        # The start is not carried.
        self._index = self._position = 1
        self._next = (1, 1)

    @property
    def is_due(self) -> bool:
        return self.has_ended or len(self.events) > self._index

    def commands(self) -> list[Command]:
        """Return what adds the new events; call `confirm` once Redis has executed it."""
        new = self.events[self._index : len(self.events)]
        self._next = (self._index + len(new), self._position + length(new))
        entry = encode_events(new, self._position)
        seconds = min(_LINGER_SECONDS, self._expire_seconds) if self.has_ended else self._expire_seconds
        return [*([_add(self.key, EVENTS, entry)] if entry else []), _expire(self.key, seconds)]

    def confirm(self) -> None:
        self._index, self._position = self._next


def encode_events(events: Sequence[Event], position: int) -> bytes:
    """Return JSON of [position, events]; empty if there is nothing to carry, or too much.

    position: of the first event. Of more than _MAX_UNITS the last; neither start nor ending.
    """
    first = max(position, position + length(events) - _MAX_UNITS)
    merged = list(merge(event for event in after(events, first, position) if event.kind not in (START, END)))
    entry = _encode_json([first, merged]).encode()
    return entry if merged and len(entry) <= _MAX_BYTES else b""


def decode_events(entry: bytes) -> tuple[int, list[Event]]:
    """Return the position of the first event, and the events. Raises ValueError or TypeError for another entry."""
    position, pairs = json.loads(entry.decode())
    events = [Event(kind, payload) for kind, payload in pairs]
    if not isinstance(position, int) or not all(
        isinstance(each.payload, str) for each in events if each.kind in DELTAS
    ):
        raise ValueError("An entry must be a position and events whose deltas are text.")
    return position, events


def _add(key: bytes, field: bytes, value: bytes) -> Command:
    return ("XADD", key, "MAXLEN", "~", _MAX_ENTRIES, "*", field, value)


def _expire(key: bytes, seconds: float, *condition: str) -> Command:
    return ("PEXPIRE", key, round(1000 * seconds), *condition)
