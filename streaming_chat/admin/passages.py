"""The pieces of a text around what was sought, with that marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from streaming_chat.search.tokenizer import Term, places

_PASSAGES = 3
# Around what was found: two lines of a page.
_CHARS_BEFORE = 60
_CHARS_AFTER = 140
# A text of so many takes 50 ms to look through; what is found further on is said by the transcript.
_MAX_CHARS = 100_000


def passages(text: str, sought: Sequence[Term]) -> list[SafeString]:
    """Return up to three pieces of a text, escaped; its beginning when what was sought is not near there."""
    text = text[:_MAX_CHARS]
    found = places(text, sought)
    pieces = list(_pieces(text, found)) or [(0, min(len(text), _CHARS_BEFORE + _CHARS_AFTER))]
    return [_marked(text, start, end, found) for start, end in pieces[:_PASSAGES]]


def _pieces(text: str, found: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what to show, as (start, end)."""
    upto = 0
    for start, end in found:
        if start >= upto:
            begin = max(upto, _word_start(text, start - _CHARS_BEFORE))
            upto = _word_end(text, max(end, start + _CHARS_AFTER))
            yield begin, upto


def _word_start(text: str, at: int) -> int:
    """Return where a word begins near there, so that none is cut in two."""
    if at <= 0:
        return 0
    space = text.find(" ", at, at + 20)
    return at if space < 0 else space + 1


def _word_end(text: str, at: int) -> int:
    if at >= len(text):
        return len(text)
    space = text.rfind(" ", at - 20, at)
    return at if space < 0 else space


def _marked(text: str, start: int, end: int, found: Sequence[tuple[int, int]]) -> SafeString:
    shown: list[SafeString | str] = ["… "] if start else []
    at = start
    for first, last in found:
        if start <= first < end:
            shown += [text[at:first], format_html("<mark>{}</mark>", text[first:last])]
            at = last
    shown.append(text[at:end])
    if end < len(text):
        shown.append(" …")
    return format_html_join("", "{}", ((piece,) for piece in shown))
