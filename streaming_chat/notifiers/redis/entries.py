"""A reply's events as the entries of a Redis stream: cut to a bounded size, merged, sealed. No I/O.

An entry is 16 bytes of BLAKE2b and a JSON array of [kind, payload]. The key comes from the site's SECRET_KEY, and the
reply and the position are part of what is sealed: whoever can write to Redis cannot put words into a reply.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b, sha256

from django.utils.encoding import force_bytes

from streaming_chat.protocol.events import DELTAS, END, START, Event, after, length, merge, split

# Units of one entry. What a provider sends within a tick is some ten; a reply fed late, or after an outage, is more.
UNITS = 4_096
# Units carried of what was received before: the database has all but the last half second of it.
RECENT = 65_536
# A tool call is one unit however long its arguments are. A longer entry is left to the database.
_BYTES = 262_144
_SEAL_BYTES = 16
# json.dumps makes an encoder at each call that asks for separators: 2.1 µs an entry of one word, this 1.6 (timeit).
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def cut(events: Sequence[Event], position: int) -> Iterator[tuple[int, list[Event]]]:
    """Yield these events merged, in groups of at most UNITS, each with its position; of more than RECENT the last.

    position: of the first event. Neither start nor ending is carried: followers know the one and look up the other.
    """
    end = position + length(events)
    first = max(position, end - RECENT)
    group: list[Event] = []
    begun = at = first
    for event in _small(merge(event for event in after(events, first, position) if event.kind not in (START, END))):
        if at + event.size - begun > UNITS:
            yield begun, group
            begun, group = at, []
        group.append(event)
        at += event.size
    if group:
        yield begun, group


def _small(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        rest = event
        while rest.size > UNITS:
            part, rest = split(rest, UNITS)
            yield part
        yield rest


class Seal:
    """Makes entries, and takes only those that were made with one of the site's keys, the first of which it uses."""

    def __init__(self, secrets: Iterable[str | bytes]) -> None:
        self._keys = [sha256(b"streaming_chat.notifiers:" + force_bytes(secret)).digest() for secret in secrets]

    def __repr__(self) -> str:
        # No keys: a tracker shows the locals of a frame.
        return "Seal()"

    def close(self, message_id: uuid.UUID, position: int, events: Sequence[Event]) -> bytes:
        """Return an entry, empty where it would be too long."""
        body = _ENCODE(events).encode()
        return _sum(self._keys[0], message_id, position, body) + body if len(body) <= _BYTES else b""

    def open(self, message_id: uuid.UUID, position: int, entry: bytes) -> list[Event]:
        """Return an entry's events. Raises ValueError for one that is not ours."""
        told, body = entry[:_SEAL_BYTES], entry[_SEAL_BYTES:]
        if not any(hmac.compare_digest(told, _sum(key, message_id, position, body)) for key in self._keys):
            raise ValueError(f"An entry of {len(entry)} bytes has no valid seal.")
        events = [Event(kind, payload) for kind, payload in json.loads(body)]
        if not all(isinstance(event.payload, str) for event in events if event.kind in DELTAS):
            raise ValueError("An entry's delta holds no text.")
        return events


def _sum(key: bytes, message_id: uuid.UUID, position: int, body: bytes) -> bytes:
    head = message_id.bytes + position.to_bytes(8, "big")
    return blake2b(head + body, digest_size=_SEAL_BYTES, key=key).digest()
