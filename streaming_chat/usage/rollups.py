"""Counts the replies and the tool calls of a day, and saves the counts of days that are over.

A reply and its feedback belong to the day (UTC) on which the reply started. One query counts a day, another its feedback.
Both use the index on (status, created_at), so they read only that day's messages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, date
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.db.models import Case, CharField, Count, F, FloatField, Q, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, Concat

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import DailyOwnerUsage, DailyToolUsage, DailyUsage, Feedback, Message, ModelTitle, Status
from streaming_chat.providers import split_model, wildcards

from .days import ONE_DAY, created, replies_of, today
from .histograms import FIRST_EVENT_MS, TOKENS_PER_SECOND
from .owner_counts import count_owners
from .tools import count_tools

# Replies are rated days after they were written, and a reply that starts before midnight may end after it.
RECOUNTED_DAYS = 7
# What each owner used is about a person, so no more is kept than the admin's pages show, 90 days.
KEPT_OWNER_DAYS = 92
_KEYS = ("model", "provider", "status", "end_reason", "error_code")
# The same of the query, in which models that clients chose under a wildcard are one.
_GROUPS = ("counted_model", *_KEYS[1:])
# Column of DailyUsage -> its annotation in the query, which must not have the name of a column of Message.
_SUMS = {
    "replies": "count",
    "input_tokens": "input_sum",
    "cached_input_tokens": "cached_sum",
    "cache_write_tokens": "written_sum",
    "output_tokens": "output_sum",
    "uncosted": "uncosted_count",
}


def roll_up(since: date | None = None, *, rebuild: bool = False) -> Iterator[tuple[date, int]]:
    """Save the counts of the days that are over; yield each day with its number of replies. Blocking.

    Days with counts are skipped, except for the last RECOUNTED_DAYS. Each day is a transaction, so a second run continues
    an interrupted one. since: the first day, by default that of the oldest message. rebuild: count all days again; messages
    that were removed since are missing then.
    """
    first, end = since or _oldest(), today()
    if first is None:
        return
    usage = _usage().filter(day__gte=first).values_list("day", flat=True).distinct()
    counted = set() if rebuild else set(usage)
    for number in range((end - first).days):
        day = first + number * ONE_DAY
        if day not in counted or end - day <= RECOUNTED_DAYS * ONE_DAY:
            yield day, _save_day(day)
    write_transaction(_remove_old_owners)


def count_day(day: date) -> list[DailyUsage]:
    """Return the current counts of a day, unsaved. Two queries."""
    by_key: dict[tuple[Any, ...], DailyUsage] = {}
    for row in _groups(day):
        key = tuple(row[name] for name in _GROUPS)
        usage = by_key.setdefault(key, DailyUsage(day=day, **dict(zip(_KEYS, key, strict=True))))
        _add(usage, row)
    for *ending, good, bad in _feedback(day):
        if rated := by_key.get(tuple(ending)):
            rated.good, rated.bad = good, bad
    for usage in _titles(day):
        key = tuple(getattr(usage, name) for name in _KEYS)
        by_key[key] = usage
    return list(by_key.values())


def _titles(day: date) -> list[DailyUsage]:
    """Return what the titles of a day have used, as rows without replies and without a status."""
    called = ModelTitle.objects.using(live_database()).filter(created(day, day + ONE_DAY)).exclude(input_tokens=None)
    sums = (
        called.order_by()
        .values("model")
        .annotate(
            inputs=Sum("input_tokens"),
            outputs=Sum("output_tokens"),
            dollars=Sum("cost"),
            unknown=Count("pk", filter=Q(cost=None)),
        )
    )
    return [
        DailyUsage(
            day=day,
            model=row["model"],
            provider=split_model(row["model"])[0],
            end_reason="title",
            input_tokens=row["inputs"],
            output_tokens=row["outputs"],
            cost=row["dollars"],
            uncosted=row["unknown"],
        )
        for row in sums
    ]


def _add(usage: DailyUsage, row: dict[str, Any]) -> None:
    for column, name in _SUMS.items():
        setattr(usage, column, getattr(usage, column) + (row[name] or 0))
    if row["cost_sum"] is not None:
        usage.cost = (usage.cost or Decimal(0)) + row["cost_sum"]
    if (bucket := row["first_event_bucket"]) is not None:
        usage.first_event_counts = FIRST_EVENT_MS.count_in(usage.first_event_counts, bucket, row["count"])
    if (bucket := row["speed_bucket"]) is not None:
        usage.speed_counts = TOKENS_PER_SECOND.count_in(usage.speed_counts, bucket, row["count"])


def _groups(day: date) -> Any:
    """Return sums of the day's replies, grouped by how they ended and by their two buckets."""
    replies = Message.objects.using(live_database()).filter(replies_of(day, day + ONE_DAY))
    return (
        replies.annotate(
            counted_model=_counted_model(), tokens=_written_tokens(), ms=F("duration_ms") - F("first_event_ms")
        )
        .annotate(speed=_speed())
        .annotate(
            first_event_bucket=FIRST_EVENT_MS.bucket("first_event_ms"), speed_bucket=TOKENS_PER_SECOND.bucket("speed")
        )
        .order_by()
        .values(*_GROUPS, "first_event_bucket", "speed_bucket")
        .annotate(
            count=Count("pk"),
            input_sum=Sum("input_tokens"),
            cached_sum=Sum("cached_input_tokens"),
            written_sum=Sum("cache_write_tokens"),
            output_sum=Sum("output_tokens"),
            cost_sum=Sum("cost"),
            uncosted_count=Count("pk", filter=Q(cost=None)),
        )
    )


def _counted_model(prefix: str = "") -> Case:
    """Return the model, or `alias:*` for one that a client chose: otherwise, clients decide how many rows there are."""
    is_chosen = Q(**{f"{prefix}provider__in": wildcards()}) & ~Q(**{f"{prefix}model__in": conf.STREAMING_CHAT_MODELS})
    alias = Concat(F(f"{prefix}provider"), Value(":*"), output_field=CharField())
    return Case(When(is_chosen, then=alias), default=F(f"{prefix}model"))


def _written_tokens() -> Case:
    """Return the tokens that were streamed. Reasoning that is not streamed happens before the first event."""
    unstreamed = Case(When(reasoning_ms=None, then=Coalesce(F("reasoning_tokens"), 0)), default=0)
    return Case(
        When(
            tokens_estimated=False,
            output_tokens__gt=0,
            duration_ms__gt=F("first_event_ms"),
            then=F("output_tokens") - unstreamed,
        )
    )


def _speed() -> Case:
    """Return tokens per second after the first event; null if unknown."""
    return Case(When(tokens__gt=0, then=Cast(F("tokens") * 1000.0, FloatField()) / F("ms")), output_field=FloatField())


def _feedback(day: date) -> Any:
    found = Feedback.objects.using(live_database()).filter(replies_of(day, day + ONE_DAY, "message__"))
    return (
        found.order_by()
        .annotate(counted_model=_counted_model("message__"))
        .values_list("counted_model", *(f"message__{name}" for name in _KEYS[1:]))
        .annotate(good=Count("pk", filter=Q(value__gt=0)), bad=Count("pk", filter=Q(value__lt=0)))
    )


def _save_day(day: date) -> int:
    """Replace the counts of a day; return its number of replies. A simultaneous roll-up saves the same."""
    rows = count_day(day)
    with contextlib.suppress(IntegrityError):
        write_transaction(partial(_replace, day, rows or [DailyUsage(day=day)]))
    return sum(row.replies for row in rows)


def _replace(day: date, rows: list[DailyUsage]) -> None:
    usage, of_owners = _usage(), _usage_of_owners()
    usage.filter(day=day)._raw_delete(usage.db)
    usage.bulk_create(rows)
    of_tools = DailyToolUsage.objects.using(usage.db)
    of_tools.filter(day=day)._raw_delete(usage.db)
    of_tools.bulk_create(count_tools(day, day + ONE_DAY))
    of_owners.filter(day=day)._raw_delete(usage.db)
    # Counted here, so that an owner who has just been erased does not come back.
    of_owners.bulk_create(count_owners(day) if day >= _owners_since() else [])


def _remove_old_owners() -> None:
    of_owners = _usage_of_owners()
    of_owners.filter(day__lt=_owners_since())._raw_delete(of_owners.db)


def _owners_since() -> date:
    return today() - KEPT_OWNER_DAYS * ONE_DAY


def _usage() -> Any:
    return DailyUsage.objects.using(live_database())


def _usage_of_owners() -> Any:
    return DailyOwnerUsage._default_manager.using(live_database())


def _oldest() -> date | None:
    """Return the day of the oldest message, in the same index."""
    messages = Message.objects.using(live_database()).order_by("created_at").values_list("created_at", flat=True)
    found = [messages.filter(status=status).first() for status in Status.values]
    return min((at.astimezone(UTC).date() for at in found if at), default=None)
