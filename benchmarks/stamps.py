"""Tokens that say when they were sent: six characters, by a clock that all processes of a machine share."""

from __future__ import annotations

import time

SIZE = 6
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TICKS_A_SECOND = 10_000
# Five digits: 100 minutes of 0.1 ms.
_ROUND = 36**5


def stamp(at: float) -> str:
    """Return the token of a moment of `time.monotonic()`."""
    rest = int(at * _TICKS_A_SECOND) % _ROUND
    digits = ""
    for _place in range(5):
        rest, digit = divmod(rest, 36)
        digits = _DIGITS[digit] + digits
    return digits + " "


def sent_at(token: str) -> float:
    """Return the moment of a token that is younger than 100 minutes."""
    now = time.monotonic()
    return now - (int(now * _TICKS_A_SECOND) - int(token, 36)) % _ROUND / _TICKS_A_SECOND


def times(text: str) -> list[float]:
    """Return the moments of a text's whole tokens."""
    return [sent_at(text[first : first + SIZE]) for first in range(0, len(text) - SIZE + 1, SIZE)]
