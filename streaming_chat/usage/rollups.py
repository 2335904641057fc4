"""Counts the replies of a day, and keeps the counts of days that are over.

A reply belongs to the day (UTC) in which it began, its feedback as well. One query counts a day, another its feedback, both
through the index on (status, created_at): they look at that day's messages, however many others there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.db.models import Case, Count, F, FloatField, Q, Sum, When
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import DailyUsage, Feedback, Message, Status

from .histograms import FIRST_EVENT_MS, TOKENS_PER_SECOND

# People judge a reply days after it was written, and one that began before midnight ends after it.
AGAIN_DAYS = 7
_KEYS = ("model", "provider", "status", "end_reason", "error_code")
# Column of DailyUsage -> what the query calls its sum: a name of its own, since a message's column has the other.
_SUMS = {
    "replies": "count",
    "input_tokens": "asked",
    "cached_input_tokens": "cached",
    "output_tokens": "said",
    "uncosted": "unpriced",
    "first_event_ms": "waited",
}
_ONE_DAY = timedelta(days=1)


def today() -> date:
    """Return the day it is in UTC."""
    return timezone.now().astimezone(UTC).date()


def roll_up(since: date | None = None, *, rebuild: bool = False) -> Iterator[tuple[date, int]]:
    """Keep the counts of the days that are over; yield each day with how many replies it had.

    Days that were counted are left alone, but for the last AGAIN_DAYS. Each is one transaction: what is killed goes on
    where it was. since: the first day, by default that of the oldest message. rebuild: count again what was counted, without
    what has been removed since. Blocking.
    """
    first, end = since or _oldest(), today()
    if first is None:
        return
    kept = set() if rebuild else counted_days(first)
    for number in range((end - first).days):
        day = first + number * _ONE_DAY
        if day not in kept or end - day <= AGAIN_DAYS * _ONE_DAY:
            yield day, _keep(day)


def counted_days(first: date) -> set[date]:
    """Return the days that have been counted, from this one on."""
    return set(_usage().filter(day__gte=first).values_list("day", flat=True).distinct())


def count_day(day: date) -> list[DailyUsage]:
    """Return the counts of a day as they are now, not saved; two queries."""
    found: dict[tuple[Any, ...], DailyUsage] = {}
    for row in _groups(day):
        key = tuple(row[name] for name in _KEYS)
        usage = found.setdefault(key, DailyUsage(day=day, **dict(zip(_KEYS, key, strict=True))))
        _add(usage, row)
    for *ending, good, bad in _feedback(day):
        if judged := found.get(tuple(ending)):
            judged.good, judged.bad = good, bad
    return list(found.values())


def _add(usage: DailyUsage, row: dict[str, Any]) -> None:
    for column, name in _SUMS.items():
        setattr(usage, column, getattr(usage, column) + (row[name] or 0))
    if row["spent"] is not None:
        usage.cost = (usage.cost or Decimal(0)) + row["spent"]
    if (bucket := row["first_event_bucket"]) is not None:
        usage.first_event_counts = FIRST_EVENT_MS.count_in(usage.first_event_counts, bucket, row["count"])
    if (bucket := row["speed_bucket"]) is not None:
        usage.timed_tokens += row["written"]
        usage.timed_ms += row["writing"]
        usage.speed_counts = TOKENS_PER_SECOND.count_in(usage.speed_counts, bucket, row["count"])


def _groups(day: date) -> Any:
    """Return the day's replies by how they ended and by their two buckets: the database does the adding."""
    replies = Message.objects.using(live_database()).filter(_of(day))
    return (
        replies.annotate(tokens=_written_tokens(), ms=F("duration_ms") - F("first_event_ms"))
        .annotate(speed=_speed())
        .annotate(
            first_event_bucket=FIRST_EVENT_MS.bucket("first_event_ms"), speed_bucket=TOKENS_PER_SECOND.bucket("speed")
        )
        .order_by()
        .values(*_KEYS, "first_event_bucket", "speed_bucket")
        .annotate(
            count=Count("pk"),
            asked=Sum("input_tokens"),
            cached=Sum("cached_input_tokens"),
            said=Sum("output_tokens"),
            waited=Sum("first_event_ms"),
            written=Sum("tokens"),
            writing=Sum("ms"),
            spent=Sum("cost"),
            unpriced=Count("pk", filter=Q(cost=None)),
        )
    )


def _written_tokens() -> Case:
    """Return the tokens that were seen coming. Reasoning that was not streamed was done before the first event."""
    unseen = Case(When(reasoning_ms=None, then=Coalesce(F("reasoning_tokens"), 0)), default=0)
    return Case(
        When(
            tokens_estimated=False,
            output_tokens__gt=0,
            duration_ms__gt=F("first_event_ms"),
            then=F("output_tokens") - unseen,
        )
    )


def _speed() -> Case:
    """Return tokens a second after the first event; null where nobody can say."""
    return Case(When(tokens__gt=0, then=Cast(F("tokens") * 1000.0, FloatField()) / F("ms")), output_field=FloatField())


def _feedback(day: date) -> Any:
    found = Feedback.objects.using(live_database()).filter(_of(day, "message__"))
    return (
        found.order_by()
        .values_list(*(f"message__{name}" for name in _KEYS))
        .annotate(good=Count("pk", filter=Q(value__gt=0)), bad=Count("pk", filter=Q(value__lt=0)))
    )


def _of(day: date, prefix: str = "") -> Q:
    start = datetime.combine(day, time(), UTC)
    # By status, since that is how the index begins.
    wanted = {
        "status__in": Status.values,
        "created_at__gte": start,
        "created_at__lt": start + _ONE_DAY,
        "role": Message.Role.ASSISTANT,
        "origin": Message.Origin.SERVER,
    }
    return Q(**{prefix + name: value for name, value in wanted.items()})


def _keep(day: date) -> int:
    """Replace what is kept of a day; return how many replies it had. Who is at it at the same time keeps the same."""
    rows = count_day(day)
    with contextlib.suppress(IntegrityError):
        write_transaction(partial(_replace, day, rows or [DailyUsage(day=day)]))
    return sum(row.replies for row in rows)


def _replace(day: date, rows: list[DailyUsage]) -> None:
    usage = _usage()
    usage.filter(day=day)._raw_delete(usage.db)
    usage.bulk_create(rows)


def _usage() -> Any:
    return DailyUsage.objects.using(live_database())


def _oldest() -> date | None:
    """Return the day of the oldest message, by the index as well."""
    messages = Message.objects.using(live_database()).order_by("created_at").values_list("created_at", flat=True)
    found = [messages.filter(status=status).first() for status in Status.values]
    return min((at.astimezone(UTC).date() for at in found if at), default=None)
