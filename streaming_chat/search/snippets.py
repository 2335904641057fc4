"""Snippets: parts of a text around the matches of a search, as plain pieces. No HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .tokenizer import Term, find_matches


class Piece(NamedTuple):
    """A part of a snippet. is_match: it matches the search."""

    text: str
    is_match: bool = False


class Size(NamedTuple):
    """How much is shown. max_chars: how far into the text matches are looked for; 100,000 characters take 50 ms."""

    most: int
    chars_before: int
    chars_after: int
    max_chars: int


# Each snippet is two lines of a page. For matches further on, there is the transcript.
PAGE = Size(most=3, chars_before=60, chars_after=140, max_chars=100_000)
# Two lines of a narrow list, which shows 30 texts at once.
LIST = Size(most=1, chars_before=20, chars_after=80, max_chars=20_000)


def snippets(text: str, terms: Sequence[Term], size: Size = PAGE) -> list[list[Piece]]:
    """Return the first snippets of a text; its beginning if nothing matches in its first `max_chars` characters."""
    text = text[: size.max_chars]
    matches = find_matches(text, terms)
    places = list(_places(text, matches, size)) or [(0, min(len(text), size.chars_before + size.chars_after))]
    return [_pieces(text, start, end, matches) for start, end in places[: size.most]]


def _places(text: str, matches: Sequence[tuple[int, int]], size: Size) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each snippet."""
    shown = 0
    for start, end in matches:
        if start >= shown:
            begin = max(shown, _word_start(text, start - size.chars_before))
            shown = _word_end(text, max(end, start + size.chars_after))
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


def _pieces(text: str, start: int, end: int, matches: Sequence[tuple[int, int]]) -> list[Piece]:
    pieces = [Piece("… ")] if start else []
    at = start
    for first, last in matches:
        if start <= first < end:
            pieces += [Piece(text[at:first]), Piece(text[first:last], True)]
            at = last
    pieces.append(Piece(text[at:end]))
    if end < len(text):
        pieces.append(Piece(" …"))
    return [piece for piece in pieces if piece.text]
