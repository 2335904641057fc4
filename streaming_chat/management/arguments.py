"""Types of command-line arguments: numbers of days, dates and times."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date, datetime, time, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

_MAX_DAYS = 36_500


def days(min_days: float = 0) -> Callable[[str], timedelta]:
    """Return a parser for a number of days, which may have a fraction. It raises ArgumentTypeError below min_days."""

    def parse(text: str) -> timedelta:
        try:
            number = float(text)
        except ValueError:
            number = -1
        if not min_days <= number <= _MAX_DAYS:
            raise ArgumentTypeError(f"must be a number of days, {min_days:g} to {_MAX_DAYS}, got {text!r}.")
        return timedelta(days=number)

    return parse


def day(text: str) -> date:
    """Return a date. Raises ArgumentTypeError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a date like 2026-11-01, got {text!r}.") from None


def moment(text: str) -> str:
    """Return a time with its time zone, in ISO format. A date is its beginning in the site's time zone.

    Raises ArgumentTypeError.
    """
    try:
        when = _parse_moment(text)
    except ValueError:
        when = None
    if when is None:
        raise ArgumentTypeError(f"must be a date or time like 2026-11-01 or 2026-11-01T12:00, got {text!r}.")
    return (timezone.make_aware(when) if timezone.is_naive(when) else when).isoformat()


def _parse_moment(text: str) -> datetime | None:
    # parse_datetime accepts dates, too, from Python 3.11.
    when = parse_datetime(text) if len(text) > len("2026-11-01") else None
    if when is None and (found := parse_date(text)):
        return datetime.combine(found, time())
    return when
