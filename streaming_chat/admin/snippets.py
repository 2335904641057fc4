"""Snippets: parts of a text around the matches of a search, with the matches marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from streaming_chat.search.tokenizer import Term, find_matches

_MAX_SNIPPETS = 3
# Around a match: two lines of a page.
_CHARS_BEFORE = 60
_CHARS_AFTER = 140
# Searching this many characters takes 50 ms. For matches further on, there is the transcript.
_MAX_CHARS = 100_000


def snippets(text: str, terms: Sequence[Term]) -> list[SafeString]:
    """Return up to three escaped snippets of a text; its beginning if nothing matches in its first 100,000 characters."""
    text = text[:_MAX_CHARS]
    matches = find_matches(text, terms)
    places = list(_places(text, matches)) or [(0, min(len(text), _CHARS_BEFORE + _CHARS_AFTER))]
    return [_mark(text, start, end, matches) for start, end in places[:_MAX_SNIPPETS]]


def _places(text: str, matches: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each snippet."""
    shown = 0
    for start, end in matches:
        if start >= shown:
            begin = max(shown, _word_start(text, start - _CHARS_BEFORE))
            shown = _word_end(text, max(end, start + _CHARS_AFTER))
            yield begin, shown


def _word_start(text: str, at: int) -> int:
    """Return the start of a word near there, so that no word is cut."""
    if at <= 0:
        return 0
    space = text.find(" ", at, at + 20)
    return at if space < 0 else space + 1


def _word_end(text: str, at: int) -> int:
    if at >= len(text):
        return len(text)
    space = text.rfind(" ", at - 20, at)
    return at if space < 0 else space


def _mark(text: str, start: int, end: int, matches: Sequence[tuple[int, int]]) -> SafeString:
    parts: list[SafeString | str] = ["… "] if start else []
    at = start
    for first, last in matches:
        if start <= first < end:
            parts += [text[at:first], format_html("<mark>{}</mark>", text[first:last])]
            at = last
    parts.append(text[at:end])
    if end < len(text):
        parts.append(" …")
    return format_html_join("", "{}", ((part,) for part in parts))
