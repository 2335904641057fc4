"""How old something must be, as the commands that clear it are told."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta

_MOST_DAYS = 36_500


def days(least: float = 0) -> Callable[[str], timedelta]:
    """Return what reads a number of days, which may have a fraction. Raises ArgumentTypeError for less than `least`."""

    def read(text: str) -> timedelta:
        try:
            number = float(text)
        except ValueError:
            number = -1
        if not least <= number <= _MOST_DAYS:
            raise ArgumentTypeError(f"a number of days was wanted, {least:g} to {_MOST_DAYS}, got {text!r}.")
        return timedelta(days=number)

    return read
