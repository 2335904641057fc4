"""Finding and replacing passages in the texts of a conversation. No queries.

A passage can begin in one part of a reply and end in another, since sources and tool calls interrupt a text. A reply and its
continuation begin with the same text, in which one may have only the beginning of what the other has whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from django.utils.crypto import salted_hmac

from streaming_chat.conf import conf
from streaming_chat.models import Message, ToolCall
from streaming_chat.protocol import events

REDACTED = "[redacted]"
# NUL occurs in no stored text, so nothing matches a part of an earlier mark.
_HIDDEN_MARK = "\0" * len(REDACTED)
# A selection in a rendered page has none of the marks of Markdown, nor the numbers of a list.
_MARKS = "*_~`>#|+-"
_BETWEEN_WORDS = rf"(?:[\s{_MARKS}]|\n\d{{1,9}}[.)])+"

# What a part has that is one of the app's own words, or a number of the app's own.
_NO_TEXTS = frozenset({"kind", "origin"})
_NO_TEXTS_OF = {
    events.TOOL_CALL: frozenset({"complete", "runs"}),
    events.TOOL_RESULT: frozenset({"status", "ms"}),
    events.STEP: frozenset({"number"}),
    events.APPROVAL: frozenset({"calls", "expires"}),
}

# Where a passage begins and ends, in code points.
Span = tuple[int, int]
Spans = Mapping[str, Sequence[Span]]


class Edit(NamedTuple):
    """What was replaced in a reply, in positions, and the length of what is there now."""

    start: int
    end: int
    length: int


class Passages:
    """What is to be redacted. Its repr is the default one: no text in error pages."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    @classmethod
    def with_text(cls, text: str) -> Passages:
        """Return all passages with these words, in any case, with any white space and marks of Markdown between them."""
        expression = _BETWEEN_WORDS.join(map(re.escape, _words_of(text)))
        return cls(re.compile(expression or re.escape(text.strip()), re.IGNORECASE))

    @classmethod
    def with_pattern(cls, name: str) -> Passages:
        """Return all passages that match a pattern of STREAMING_CHAT_REDACTION_PATTERNS."""
        return cls(re.compile(conf.STREAMING_CHAT_REDACTION_PATTERNS[name], re.IGNORECASE))

    def spans(self, text: str) -> list[Span]:
        """Return where passages are in a text."""
        hidden = text.replace(REDACTED, _HIDDEN_MARK)
        return [found.span() for found in self._pattern.finditer(hidden) if found[0]]

    def replace(self, text: str) -> str:
        """Return a text with REDACTED in place of each passage."""
        return _replace(text, self.spans(text))

    def replace_in(self, value: Any) -> Any:
        """Return a JSON value with REDACTED in place of each passage: in strings, in keys, and for numbers that match."""
        if isinstance(value, str):
            return self._replace_in_json(value)
        if isinstance(value, dict):
            return {self.replace(name): self.replace_in(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.replace_in(item) for item in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return REDACTED if is_number and self.spans(str(value)) else value

    def replace_in_values(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object of the app's own, such as a part, whose names and kind stay."""
        kept = _kept(fields)
        return {name: item if name in kept else self.replace_in(item) for name, item in fields.items()}

    def replace_in_part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Return a part of a message. Calls and results still belong together, and providers still take them."""
        replaced = self.replace_in_values(part)
        if part["kind"] in _NO_TEXTS_OF:
            replaced |= {name: self.replace_word(part[name]) for name in ("id", "name") if name in part}
        if part["kind"] == events.APPROVAL:
            replaced["calls"] = [{**call, "id": self.replace_word(call["id"])} for call in part["calls"]]
        return replaced

    def replace_word(self, word: str) -> str:
        """Return the id of a call or the name of a tool, or another word for one with a passage: the same for the same."""
        if not self.spans(word):
            return word
        return f"redacted-{salted_hmac('streaming_chat.redactions', word, algorithm='sha256').hexdigest()[:16]}"

    def _replace_in_json(self, text: str) -> str:
        """Replace also what is escaped, as in the arguments of a tool call."""
        try:
            value = json.loads(text) if text[:1] in ("{", "[") else text
        except ValueError:
            return self.replace(text)
        if value is text or (replaced := self.replace_in(value)) == value:
            return self.replace(text)
        return json.dumps(replaced, ensure_ascii=False)


def _kept(fields: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of what is no text in an object of the app's own."""
    return _NO_TEXTS | _NO_TEXTS_OF.get(fields.get("kind", ""), frozenset())


def _words_of(text: str) -> list[str]:
    """Return the words of a text, without marks where it goes on: a search among many marks would be quadratic."""
    first, *others = text.split() or [""]
    if not others:
        return [first]
    *inner, last = others
    words = [first.rstrip(_MARKS), *(word.strip(_MARKS) for word in inner), last.lstrip(_MARKS)]
    return [word for word in words if word]


def _replace(text: str, spans: Iterable[Span]) -> str:
    pieces, end = [], 0
    for start, next_end in spans:
        pieces += [text[end:start], REDACTED]
        end = next_end
    return "".join([*pieces, text[end:]])


def texts_in(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in which `Passages.replace_in_values` looks."""
    kept = _kept(fields)
    for name, item in fields.items():
        if name not in kept:
            yield from strings_in(item)


def strings_in(value: Any) -> Iterator[str]:
    """Yield the strings, keys and numbers of a JSON value, as texts; of a string that is JSON, its own."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, str):
        yield from _strings_in_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _strings_in_text(text: str) -> Iterator[str]:
    try:
        value = json.loads(text) if text[:1] in ("{", "[") else text
    except ValueError:
        value = text
    if value is text:
        yield text
    else:
        yield from strings_in(value)


def texts_of(message: Message) -> dict[str, str]:
    """Return the text and the reasoning of a message, each in one piece, also beyond a cut."""
    if not message.parts:
        return {events.TEXT: message.text}
    texts = dict.fromkeys(events.DELTAS, "")
    for part in message.parts:
        if part["kind"] in events.DELTAS:
            texts[part["kind"]] += part["text"]
    return texts


def find_in(messages: Sequence[Message], passages: Passages) -> list[Spans]:
    """Return for each of these messages where the passages are.

    messages: one, or all replies that share their text. What is found in the beginning that two of them have in common is
    redacted in both, also where one of them ends within a passage.
    """
    texts = [texts_of(message) for message in messages]
    found = [{kind: passages.spans(text) for kind, text in each.items()} for each in texts]
    merged = [{kind: list(spans) for kind, spans in each.items()} for each in found]
    for one, other in permutations(range(len(messages)), 2):
        for kind in found[one].keys() & found[other].keys():
            common = _common_length(texts[one][kind], texts[other][kind])
            merged[other][kind] += [(start, min(end, common)) for start, end in found[one][kind] if start < common]
    return [{kind: _without_overlaps(spans) for kind, spans in each.items()} for each in merged]


def _common_length(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike. By halves, since texts can have a million characters."""
    common, longest = 0, min(len(one), len(other))
    while common < longest:
        middle = (common + longest + 1) // 2
        if one[common:middle] == other[common:middle]:
            common = middle
        else:
            longest = middle - 1
    return common


def _without_overlaps(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def redacted_columns(message: Message, spans: Spans, passages: Passages) -> dict[str, Any]:
    """Return the columns of a message that change, with positions that fit its new text; {} if nothing does."""
    parts, edits = _edit_parts(message.parts, spans, passages)
    moved = _mover(edits)
    columns = {
        "text": _replace(message.text, spans.get(events.TEXT, ())) if not message.parts else message.text,
        "parts": parts,
        "position": moved(message.position),
        "cut_position": None if message.cut_position is None else moved(message.cut_position),
        "continued_at": None if message.continued_at is None else moved(message.continued_at),
        "page_context": message.page_context and passages.replace_in_values(message.page_context),
    }
    if message.parts:
        end = moved(message.end_position)
        is_of_parts = _text_until(message.parts, message.end_position) == message.text
        columns["text"] = _text_until(parts, end) if is_of_parts else passages.replace(message.text)
    return columns if any(value != getattr(message, name) for name, value in columns.items()) else {}


def redacted_call(call: ToolCall, passages: Passages) -> dict[str, Any]:
    """Return the columns of a tool call that change; {} if nothing does."""
    columns: dict[str, Any] = {
        "call_id": passages.replace_word(call.call_id),
        "name": passages.replace_word(call.name),
        "arguments": passages.replace_in(call.arguments),
        "output": passages.replace_in(call.output),
        "answer": call.answer and passages.replace_in_values(call.answer),
    }
    if columns["name"] != call.name:
        # No tool has this name.
        columns["digest"] = ""
    return {name: value for name, value in columns.items() if value != getattr(call, name)}


def _text_until(parts: Iterable[dict[str, Any]], position: int) -> str:
    return events.text_of(events.before(events.from_parts(parts), position, 1))


def _edit_parts(
    parts: Iterable[dict[str, Any]], spans: Spans, passages: Passages
) -> tuple[list[dict[str, Any]], list[Edit]]:
    edited: list[dict[str, Any]] = []
    edits: list[Edit] = []
    before = dict.fromkeys(events.DELTAS, 0)
    position = 1
    for part in parts:
        kind = part["kind"]
        if kind not in events.DELTAS:
            edited.append(passages.replace_in_part(part))
            position += 1
            continue
        text, offset = part["text"], before[kind]
        own = list(_edits_in(spans.get(kind, ()), offset, offset + len(text)))
        if replaced := _apply(text, own):
            edited.append({**part, "text": replaced})
        edits += [Edit(position + start, position + end, length) for start, end, length in own]
        before[kind] += len(text)
        position += len(text)
    return edited, edits


def _edits_in(spans: Iterable[Span], first: int, end: int) -> Iterator[Edit]:
    """Yield the edits of one part. The mark is in the part in which the passage begins."""
    for start, stop in spans:
        if start < end and stop > first:
            length = len(REDACTED) if start >= first else 0
            yield Edit(max(start, first) - first, min(stop, end) - first, length)


def _apply(text: str, edits: Iterable[Edit]) -> str:
    pieces, end = [], 0
    for edit in edits:
        pieces += [text[end : edit.start], REDACTED[: edit.length]]
        end = edit.end
    return "".join([*pieces, text[end:]])


def _mover(edits: Sequence[Edit]) -> Callable[[int], int]:
    """Return what gives the new position for an old one; one inside a passage moves behind its mark."""

    def moved(position: int) -> int:
        shift = 0
        for start, end, length in edits:
            if position <= start:
                break
            if position < end:
                return start + shift + length
            shift += length - (end - start)
        return position + shift

    return moved
