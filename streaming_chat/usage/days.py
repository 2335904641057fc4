"""Days of UTC, and what belongs to them: a reply belongs to the day on which it started."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Q
from django.utils import timezone

from streaming_chat.models import Message, Status

ONE_DAY = timedelta(days=1)


def today() -> date:
    """Return the current day in UTC."""
    return timezone.now().astimezone(UTC).date()


def start_of(day: date) -> datetime:
    """Return the moment at which a day begins."""
    return datetime.combine(day, time(), UTC)


def replies_of(first: date, end: date, prefix: str = "") -> Q:
    """Return the condition for the replies of these days, without the last. prefix: of the lookups, to the message."""
    # With the status, which is the index's first column.
    wanted = {"status__in": Status.values, "role": Message.Role.ASSISTANT, "origin": Message.Origin.SERVER}
    return Q(**{prefix + name: value for name, value in wanted.items()}) & created(first, end, prefix)


def created(first: date, end: date, prefix: str = "") -> Q:
    """Return the condition for what was created on these days, without the last."""
    return Q(**{f"{prefix}created_at__gte": start_of(first), f"{prefix}created_at__lt": start_of(end)})
