"""Joins the text that a provider sends to the text of the reply that it continues. No I/O, no Django.

A provider that continues an assistant's turn may be sent the turn without the white space at its end, and may repeat the
turn. A model that is told to continue begins a turn of its own: it is asked to repeat the last words, which shows where it
goes on, also in the middle of a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from .events import REASONING, SOURCE, TEXT, Event
from .storable_text import TextCleaner

# A repetition of fewer letters and digits than this may be a coincidence: "the ", a table's rule, closing brackets. Less is
# enough if the model was told to repeat something.
_MIN_REPEATED = 10
_MIN_REPEATED_AS_TOLD = 5
# How far before its end a text is looked through for the beginning of a repetition, in code points; a repetition of the
# whole text may be longer. Each read looks again, so this bounds its work.
_LONGEST_REPEATED = 2_000
# White space at the joint that is held back, in code points.
_MOST_BLANKS = 200


class Joint:
    """A TextCleaner of a continuation: it holds the beginning back until it knows how to join it.

    White space at the joint is neither doubled nor lost, and words that were there already are left out. so_far: the
    reply's text. quote: its last words, if the model was told to repeat them; "" if its turn is continued.
    """

    def __init__(self, so_far: str, quote: str = "") -> None:
        self._cleaner = TextCleaner()
        self._so_far = so_far.rstrip()
        self._tail = so_far[len(self._so_far) :]
        self._end = self._so_far[-_LONGEST_REPEATED:]
        self._quote = quote
        self._shortest = _MIN_REPEATED_AS_TOLD if quote else _MIN_REPEATED
        self._pieces: list[str] = []
        # How much of the text has been received, and with how much of it to look whether to wait for more.
        self._size = self._next_look = 0
        self._is_made = False

    def take(self, events: Iterable[Event]) -> list[Event]:
        """Return the events that can be appended to the reply."""
        return self._join(self._cleaner.take(events))

    def flush(self) -> list[Event]:
        """Return what was held back."""
        return [*self._join(self._cleaner.flush()), *self._make()]

    def _join(self, events: list[Event]) -> list[Event]:
        if self._is_made:
            return events
        joined: list[Event] = []
        for event in events:
            if event.kind == TEXT and not self._is_made:
                self._pieces.append(event.payload)
                self._size += len(event.payload)
                joined += [] if self._must_wait() else self._make()
            else:
                # Reasoning about the continuation and its sources come before it, and anything else after it.
                joined += [event] if event.kind in (REASONING, SOURCE) else [*self._make(), event]
        return joined

    @property
    def _held(self) -> str:
        """What was held back."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _must_wait(self) -> bool:
        """Return whether more of the text may be a repetition, or white space at the joint."""
        if self._size < self._next_look:
            return True
        # A long repetition is looked at ever less often: the work is in proportion to its length.
        self._next_look = self._size + (self._size // 8 if self._size > _LONGEST_REPEATED else 0)
        text = self._held.lstrip()
        if len(self._held) - len(text) > _MOST_BLANKS:
            return False
        return self._may_be_repeated(text) or not self._new_text().strip()

    def _may_be_repeated(self, text: str) -> bool:
        """Return whether the text so far may be repeated further, since this was found before its end."""
        is_whole = len(text) < len(self._so_far) and self._so_far.startswith(text)
        return is_whole or self._end.find(text, 0, len(self._end) - 1) >= 0

    def _make(self) -> list[Event]:
        if self._is_made:
            return []
        self._is_made = True
        new = self._new_text()
        text = new.lstrip()
        blanks = self._blanks(new[: len(new) - len(text)])
        if not blanks and self._lacks_space(text, is_repeated=new != self._held):
            blanks = " "
        self._pieces = []
        return [Event(TEXT, blanks + text)] if blanks + text else []

    def _new_text(self) -> str:
        """Return what was held back, without what it repeats."""
        text = self._held.lstrip()
        repeated = self._repeated(text)
        return text[repeated:] if repeated else self._held

    def _repeated(self, text: str) -> int:
        """Return how many code points at the beginning of a text repeat the end of the text so far: the most."""
        if text.startswith(self._so_far) and self._is_repetition(self._so_far):
            return len(self._so_far)
        shortest = min(len(self._quote) or self._shortest, self._shortest)
        start = self._end.find(text[:shortest], max(len(self._end) - len(text), 0)) if text else -1
        while start >= 0:
            end = self._end[start:]
            if text.startswith(end) and self._is_repetition(end):
                return len(end)
            start = self._end.find(text[:shortest], start + 1)
        return 0

    def _is_repetition(self, end: str) -> bool:
        is_quote = bool(self._quote) and len(end) >= len(self._quote)
        return is_quote or sum(map(str.isalnum, end)) >= self._shortest

    def _blanks(self, blanks: str) -> str:
        """Return the white space to add to that of the text so far."""
        if blanks.startswith(self._tail):
            return blanks.removeprefix(self._tail)
        # One space separates words, which any white space does.
        return "" if self._tail.startswith(blanks) or blanks == " " else blanks

    def _lacks_space(self, text: str, *, is_repeated: bool) -> bool:
        """Return whether a turn of its own begins a word right after another: it has no white space at its beginning."""
        if not self._quote or is_repeated or self._tail or not text or not self._so_far:
            return False
        before, after = self._so_far[-1], text[0]
        ends_word = before.isalnum() or before in ",;:!?" or (before == "." and after.isupper())
        return ends_word and after.isalnum() and not (_is_wide(before) or _is_wide(after))


def _is_wide(char: str) -> bool:
    """Return whether it is of a script without spaces between words, such as Chinese."""
    return unicodedata.east_asian_width(char) in "WF"
