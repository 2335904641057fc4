"""What a reply's stream is made of, and positions. No I/O, no Django.

A reply is `start`, any number of deltas (`text`, `reasoning`), `tool_call`s and `source`s, and an `end`. If the model has
tools of the site, each call of the provider begins with a `step`, each tool call has a `tool_result` after it, and an
`approval` says for which calls the reply waits (see `tool_calls.py`).

An event's position is the number of units before it: `start` is unit 0, a delta is as many units as it has code points, any
other event but `end` is one, `end` has no number. The next event's position is this one's plus its size, so a gap shows by
itself, neighbours of one kind can be merged, a delta can be split at any code point, and a position means the same live, in
a database and in a finished message. Sizes are code points, as Python counts them: not bytes, not UTF-16 units.

A tool call is one unit however long it is, so what is limited is not the size but the weight: the code points of all text
in the events, and PART_WEIGHT for each part that they make.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

START = "start"
TEXT = "text"
REASONING = "reasoning"
TOOL_CALL = "tool_call"
SOURCE = "source"
STEP = "step"
# Of a reply: what a tool of the site returned. In a message of the user's, as a part: what a client's tool returned.
TOOL_RESULT = "tool_result"
APPROVAL = "approval"
END = "end"
DELTAS = frozenset({TEXT, REASONING})
# What a reply may have before its provider has sent anything.
NO_CONTENT = frozenset({START, SOURCE, STEP, END})
# What is no answer by itself.
_NO_ANSWERS = NO_CONTENT | {REASONING, APPROVAL}
# What only its own reply needs. Models are sent the texts of earlier replies.
_OF_ONE_REPLY = frozenset({TEXT, REASONING, SOURCE, STEP})

# The weight of a part in addition to its text, in code points: about what its row, its JSON and its objects in memory take.
PART_WEIGHT = 100

# White space of any script, and characters without a width: zero-width space and joiners, word joiner, byte order mark.
_VISIBLE = re.compile(r"[^\s\u200b-\u200d\u2060\ufeff]")

# An address that a link may have: of the web, or a path of this site. "//host" is no path.
_WEB_ADDRESS = re.compile(r"https?://[^\s/]", re.IGNORECASE)
_SITE_PATH = re.compile(r"/(?![/\\\s])")


class Event(NamedTuple):
    """One item of a reply's stream.

    payload: the text of a delta, otherwise a dict. Kinds of newer versions are carried along as one unit.
    """

    kind: str
    payload: Any

    def __repr__(self) -> str:
        # No text: an error page or a tracker shows the locals of a frame.
        return f"Event({self.kind!r}, size={self.size})"

    @property
    def size(self) -> int:
        """Units this event takes."""
        if self.kind in DELTAS:
            return len(self.payload)
        return 0 if self.kind == END else 1


def source(url: str, title: str, *, id: str = "", text: str = "", origin: str = "provider") -> Event:
    """Return the event of a source that the reply uses.

    url: an http address, or a path of the site for "context"; any other becomes "". text: a short quotation. origin:
    "provider" for a citation of the model, "context" for a document that the site has given to the model.
    """
    payload = {"url": url, "title": title, "id": id, "text": text, "origin": origin}
    return Event(SOURCE, payload | {"url": link_of(payload)})


def link_of(payload: Mapping[str, Any]) -> str:
    """Return the address of a source, or "" if a page must not link to it, such as `javascript:`."""
    url = payload.get("url")
    if not isinstance(url, str):
        return ""
    is_path = payload.get("origin") == "context" and _SITE_PATH.match(url)
    return url if is_path or _WEB_ADDRESS.match(url) else ""


def distinct_sources(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return what a reply cites, in the order of the first appearance, which numbers it from 1."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for kind, payload in events:
        if kind == SOURCE:
            found.setdefault(source_key(payload), payload)
    return list(found.values())


def source_key(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is the same for a source that is cited again."""
    return tuple(str(payload.get(name, "")) for name in ("id", "url", "title"))


def merge(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the same stream with neighbouring deltas of one kind joined and empty deltas dropped."""
    kind = ""
    texts: list[str] = []
    # By groups, since a reply has an event for each token.
    for next_kind, group in groupby(events, key=itemgetter(0)):
        if next_kind in DELTAS:
            text = "".join(map(itemgetter(1), group))
            if not text:
                continue
            if next_kind != kind:
                if texts:
                    yield Event(kind, "".join(texts))
                kind, texts = next_kind, []
            texts.append(text)
            continue
        if texts:
            yield Event(kind, "".join(texts))
        kind, texts = "", []
        yield from group
    if texts:
        yield Event(kind, "".join(texts))


def split(event: Event, at: int) -> tuple[Event, Event]:
    """Return a delta as two, the first of `at` code points.

    Raises ValueError for an event that is not a delta or a cut that is not inside it.
    """
    if event.kind not in DELTAS or not 0 < at < len(event.payload):
        raise ValueError(f"only a delta can be split, inside: got {event.kind} of size {event.size} at {at}.")
    return Event(event.kind, event.payload[:at]), Event(event.kind, event.payload[at:])


def after(events: Iterable[Event], position: int, first: int = 0) -> Iterator[Event]:
    """Yield what follows `position` of a stream whose first event is at `first`; the end always follows."""
    for event in events:
        size = event.size
        if event.kind == END or first >= position:
            yield event
        elif first + size > position:
            yield Event(event.kind, event.payload[position - first :])
        first += size


def before(events: Iterable[Event], position: int, first: int = 0) -> Iterator[Event]:
    """Yield what precedes `position` of a stream whose first event is at `first`; the end precedes none."""
    for event in events:
        size = event.size
        if event.kind == END:
            return
        if first + size <= position:
            yield event
        elif first < position and event.kind in DELTAS:
            yield Event(event.kind, event.payload[: position - first])
        first += size


def length(events: Iterable[Event]) -> int:
    """Return the number of units of a stream."""
    return sum(event.size for event in events)


def text_length(value: Any) -> int:
    """Return how many code points the text in a JSON value has; numbers and containers count as one.

    Without recursion, since a site's own provider may nest values deeply.
    """
    total, left = 0, [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            total += len(item)
            continue
        total += 1
        if isinstance(item, dict):
            left += item
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
    return total


def weight(events: Iterable[Event], latest: str = "") -> int:
    """Return the weight of events. latest: kind of the event before them; a delta of the same kind makes no part."""
    total = 0
    for kind, payload in events:
        is_delta = kind in DELTAS
        total += len(payload) if is_delta else text_length(payload)
        total += 0 if is_delta and kind == latest else PART_WEIGHT
        latest = kind
    return total


def fitting(events: Iterable[Event], room: int, latest: str = "") -> Iterator[Event]:
    """Yield what fits into a weight: a delta is cut off, and so is a tool call, which is then not complete.

    Another event that does not fit is left out, with everything after it. latest: as for `weight`.
    """
    for event in events:
        heavy = weight([event], latest)
        latest = event.kind
        if heavy <= room:
            room -= heavy
            yield event
            continue
        if event.kind in DELTAS and (left := event.size - (heavy - room)) > 0:
            yield Event(event.kind, event.payload[:left])
        elif event.kind == TOOL_CALL and (left := _arguments_left(event, heavy - room)) > 0:
            yield Event(TOOL_CALL, {**event.payload, "arguments": event.payload["arguments"][:left], "complete": False})
        return


def _arguments_left(event: Event, excess: int) -> int:
    """Return how many code points of a tool call's arguments can be kept."""
    arguments = event.payload.get("arguments")
    return len(arguments) - excess if isinstance(arguments, str) else 0


def text_of(events: Iterable[Event]) -> str:
    """Return the text a reader is shown: no reasoning, no tool calls."""
    return "".join(event.payload for event in events if event.kind == TEXT)


def is_blank(text: str) -> bool:
    """Return whether nothing of a text can be seen."""
    return not _VISIBLE.search(text)


def has_answer(events: Iterable[Event]) -> bool:
    """Return whether there is more than reasoning, sources and blanks: text that can be seen, or a tool call."""
    return any(not is_blank(event.payload) if event.kind == TEXT else event.kind not in _NO_ANSWERS for event in events)


def has_more_than_text(parts: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a later prompt needs these parts, and not only their text."""
    return any(part["kind"] not in _OF_ONE_REPLY for part in parts)


def to_parts(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the parts of a finished message, which begin at position 1: no start, no ending.

    A part is `{"kind": "text", "text": …}` for deltas, else `{"kind": …}` with the event's own keys.
    """
    return [
        {"kind": event.kind, "text": event.payload} if event.kind in DELTAS else {**event.payload, "kind": event.kind}
        for event in merge(events)
        if event.kind not in (START, END)
    ]


def from_parts(parts: Iterable[dict[str, Any]]) -> Iterator[Event]:
    """Yield the events whose parts these are; the first is at position 1."""
    for part in parts:
        kind = part["kind"]
        if kind in DELTAS:
            yield Event(kind, part["text"])
        else:
            yield Event(kind, {key: value for key, value in part.items() if key != "kind"})
