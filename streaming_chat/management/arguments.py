"""What commands are given: numbers of days, dates, times and owners."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date, datetime, timedelta

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.utils import timezone

from streaming_chat.accounts.owner_lookup import owner_with_key
from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.db.alias import live_database

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
        when = datetime.fromisoformat(text)
    except ValueError:
        wanted = "a date or time like 2026-11-01 or 2026-11-01T12:00"
        raise ArgumentTypeError(f"must be {wanted}, got {text!r}.") from None
    return (timezone.make_aware(when) if timezone.is_naive(when) else when).isoformat()


def find_owner(name: str) -> Owner:
    """Return the owner with this username, or with this key: u:<pk> of a user, v:<hmac> of a visitor.

    user is None for a visitor and for a deleted user. A user whose username looks like a key is named by their own key.
    Raises CommandError if there is no such owner.
    """
    if name.startswith(("u:", "v:")):
        return _find_by_key(name)
    users = get_user_model()._default_manager.using(live_database())
    user = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
    if user is None:
        raise CommandError(f"there is no user {name!r}; name visitors and deleted users by their owner key.")
    return Owner(user, user_key(user))


def _find_by_key(key: str) -> Owner:
    if (owner := owner_with_key(key)) is None:
        raise CommandError(f"nobody has the owner key {key!r}.")
    return owner
