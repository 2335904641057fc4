"""Counts what owners have used, from their replies and the titles that a model has given. Two queries.

Erased conversations have no owner, so what they used is counted for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Sum, Value, When

from streaming_chat.db.alias import live_database
from streaming_chat.models import DailyOwnerUsage, Message, ModelTitle
from streaming_chat.protocol import endings

from .days import ONE_DAY, created, replies_of, start_of

# These cost nothing, or little if the model only reasoned, or it is not known yet.
_WITHOUT_COST = (endings.FAILED, *sorted(endings.LIVE))


def count_owners(first: date, days: int = 1, owner_key: str = "") -> list[DailyOwnerUsage]:
    """Return the current counts of each owner on each of these days, unsaved. owner_key: count this owner alone."""
    end = first + days * ONE_DAY
    using = live_database()
    replies = Message.objects.using(using).filter(replies_of(first, end))
    titles = ModelTitle.objects.using(using).filter(created(first, end)).exclude(input_tokens=None)
    owned = Q(conversation__owner_key=owner_key) if owner_key else ~Q(conversation__owner_key="")
    if owner_key:
        # So that the database begins with the owner's conversations, and not with everybody's replies of the day.
        owned &= Q(conversation__last_activity__gte=start_of(first))
    counted: dict[tuple[date, str], DailyOwnerUsage] = {}
    number = _day_number(first, days)
    for row in [*_sums(replies.filter(owned), number), *_sums(titles.filter(owned), number)]:
        key = (first + row["day_number"] * ONE_DAY, row["of_owner"])
        _add(counted.setdefault(key, DailyOwnerUsage(day=key[0], owner_key=key[1])), row)
    return list(counted.values())


def _day_number(first: date, days: int) -> Case:
    """Return how many days after the first a row was created. On SQLite, TruncDate calls Python for each row."""
    ends = [(number, start_of(first + (number + 1) * ONE_DAY)) for number in range(days)]
    whens = [When(created_at__lt=end, then=Value(number)) for number, end in ends]
    return Case(*whens, output_field=IntegerField())


def _sums(rows: QuerySet[Any], day_number: Case) -> Iterable[dict[str, Any]]:
    is_reply = rows.model is Message
    uncosted = Q(cost=None) & ~Q(status__in=_WITHOUT_COST) if is_reply else Q(cost=None)
    return (
        rows.order_by()
        .values(day_number=day_number, of_owner=F("conversation__owner_key"))
        .annotate(
            reply_count=Count("pk") if is_reply else Value(0),
            inputs=Sum("input_tokens"),
            outputs=Sum("output_tokens"),
            dollars=Sum("cost"),
            unknown=Count("pk", filter=uncosted),
        )
    )


def _add(usage: DailyOwnerUsage, row: dict[str, Any]) -> None:
    usage.replies += row["reply_count"]
    usage.input_tokens += row["inputs"] or 0
    usage.output_tokens += row["outputs"] or 0
    usage.uncosted += row["unknown"]
    if row["dollars"] is not None:
        usage.cost = (usage.cost or Decimal(0)) + row["dollars"]
