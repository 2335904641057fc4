"""Turns texts and search terms into words, the same way for both databases. No Django, no I/O.

A word is a run of letters, digits and their marks, without case and accents. Scripts without spaces between words (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) become pairs of neighbouring characters, and the last character of each run by itself:
most words there have two characters, which a trigram index cannot find without reading everything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from typing import NamedTuple

# Longer words are encoded files. Search terms are shortened likewise.
MAX_WORD_CHARS = 64
# PostgreSQL refuses a tsvector of more than 1 MB (MAXSTRPOS). Each word takes up to five bytes in addition to its own.
_MAX_BYTES = 1_000_000
_WORD_BYTES = 8
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"  # radicals, kana, Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"  # Chinese characters
)
# Marks that make another letter of a kana. All other marks that NFKD separates are accents.
_KANA_MARKS = "\u3099\u309a"
_MAX_TERMS = 20
# A prefix of one letter matches so many words that it took 300 ms; it is searched as a whole word.
_MIN_PREFIX = 2
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»「」『』", '"'))
_TERM = re.compile(r'"([^"]*)(?:"(\*?)|$)|([^\s"]+)')


class Span(NamedTuple):
    """A word and its place in a text. is_pair: two characters of a script without spaces, which overlap the next pair."""

    word: str
    start: int
    end: int
    is_pair: bool = False


def words(text: str) -> list[str]:
    """Return the words of a text in order, up to the index's limit: about 90 000 English words or 70 000 Chinese pairs."""
    return list(_bounded(_ascii_words(text) if text.isascii() else (span.word for span in spans(text))))


def spans(text: str) -> Iterator[Span]:
    """Yield the words of a text in order, with their places."""
    for found in _word().finditer(text):
        start, written = found.start(), found.group()
        if written.isascii():
            yield Span(written.lower()[:MAX_WORD_CHARS], start, found.end())
        else:
            for run in _run().finditer(written):
                yield from _spans_of_run(run.group(), start + run.start(), is_unspaced=run.lastgroup == "unspaced")


def _ascii_words(text: str) -> Iterator[str]:
    return (word[:MAX_WORD_CHARS] for word in _ASCII_WORD.findall(text.lower()))


def _bounded(found: Iterable[str]) -> Iterator[str]:
    left = _MAX_BYTES
    for word in found:
        left -= _WORD_BYTES + (len(word) if word.isascii() else len(word.encode()))
        if left < 0:
            return
        yield word


def _spans_of_run(written: str, start: int, *, is_unspaced: bool) -> Iterator[Span]:
    folded = fold(written)
    end = start + len(written)
    if not is_unspaced:
        if folded:
            yield Span(folded[:MAX_WORD_CHARS], start, end)
        return
    # If folding has changed the length, the characters have lost their places.
    is_placed = len(folded) == len(written)
    for index, (one, two) in enumerate(pairwise(folded)):
        yield (
            Span(one + two, start + index, start + index + 2, True) if is_placed else Span(one + two, start, end, True)
        )
    if folded:
        yield Span(folded[-1], end - 1 if is_placed else start, end, True)


def fold(word: str) -> str:
    """Return a word without case, accents and differences of width."""
    separated = unicodedata.normalize("NFKD", word.casefold())
    kept = "".join(char for char in separated if char in _KANA_MARKS or not unicodedata.combining(char))
    # Compose Hangul, and kana with their marks, again. Folding may leave other characters than letters: ½ is 1⁄2.
    return _not_word().sub("", unicodedata.normalize("NFC", kept).casefold())


@cache
def _marks() -> str:
    r"""Return all marks, which belong to words in addition to `\w`."""
    # Without marks, the words of most scripts of India would be split. 44 ms, once per process.
    marks = [code for code in range(0x20000) if unicodedata.category(chr(code))[0] == "M"]
    return "".join(map(chr, marks))


@cache
def _word() -> re.Pattern[str]:
    # A single class of both is several times slower, since it looks up each character in the long list of marks.
    return re.compile(rf"[^\W_]+(?:[{_marks()}]+[^\W_]*)*")


@cache
def _not_word() -> re.Pattern[str]:
    return re.compile(rf"[^\w{_marks()}]|_")


@cache
def _run() -> re.Pattern[str]:
    return re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|(?P<spaced>[^{_UNSPACED}]+)")


@dataclass(frozen=True, slots=True)
class Term:
    """Consecutive words. is_prefix: the last word is the beginning of one."""

    words: tuple[str, ...]
    is_prefix: bool = False


def terms(query: str) -> list[Term]:
    """Return the terms of a search: words, "phrases" and prefixes*. Any text is valid; [] if it has no word.

    Several words without spaces between them are a phrase: an address, an e-mail, a name in code.
    """
    found = []
    for phrase, phrase_star, piece in _TERM.findall(query.translate(_QUOTES)):
        is_prefix = bool(phrase_star) or (phrase or piece).rstrip().endswith("*")
        if term := _term(phrase or piece, is_prefix=is_prefix):
            found.append(term)
    return list(islice(dict.fromkeys(found), _MAX_TERMS))


def _term(text: str, *, is_prefix: bool) -> Term | None:
    found = list(spans(text))
    if not found:
        return None
    if found[-1].is_pair:
        # More may follow in a text: drop the last character by itself, unless it is the whole run.
        if len(found) > 1 and found[-2].is_pair and found[-2].end == found[-1].end:
            found.pop()
        else:
            is_prefix = True
    elif len(found[-1].word) < _MIN_PREFIX:
        is_prefix = False
    return Term(tuple(span.word for span in found[:_MAX_TERMS]), is_prefix)


def find_matches(text: str, terms: Iterable[Term]) -> list[tuple[int, int]]:
    """Return the places of terms in a text, in order, as (start, end). Overlapping ones are joined."""
    found = list(spans(text))
    by_word: dict[str, list[int]] = {}
    for index, span in enumerate(found):
        by_word.setdefault(span.word, []).append(index)
    marked = sorted(
        (found[index].start, _end(found[index + len(term.words) - 1], term))
        for term in terms
        for index in _starts(term, by_word, found)
    )
    joined: list[tuple[int, int]] = []
    for start, end in marked:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _starts(term: Term, by_word: dict[str, list[int]], found: list[Span]) -> Iterator[int]:
    """Yield the index of the first word of each match."""
    if len(term.words) == 1 and term.is_prefix:
        firsts = [index for word, at in by_word.items() if word.startswith(term.words[0]) for index in at]
    else:
        firsts = by_word.get(term.words[0], [])
    for index in firsts:
        if index + len(term.words) <= len(found) and _is_at(term, found, index):
            yield index


def _is_at(term: Term, found: list[Span], index: int) -> bool:
    *others, last = (found[index + offset].word for offset in range(len(term.words)))
    if others != list(term.words[:-1]):
        return False
    return last.startswith(term.words[-1]) if term.is_prefix else last == term.words[-1]


def _end(last: Span, term: Term) -> int:
    if last.is_pair and term.is_prefix and last.end - last.start == len(last.word):
        return last.start + min(len(term.words[-1]), len(last.word))
    return last.end
