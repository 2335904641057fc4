"""What owners have used in the last days: the saved counts, and live counts of the days that may not be saved yet.

No text. The two live days are always counted from the messages, so no query has to ask whether they are saved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import DecimalField, F, Sum, Value
from django.db.models.functions import Coalesce

from streaming_chat.db.alias import live_database
from streaming_chat.models import DailyOwnerUsage

from .days import today
from .owner_counts import count_owners
from .reports import LIVE_DAYS

# How many owners the list has.
MAX_OWNERS = 50
# Of the owners on the live days, the ones with the highest cost are looked up in the days before; SQLite limits parameters.
_MAX_LIVE = 1_000
_SUMMED = ("replies", "input_tokens", "output_tokens", "uncosted")


@dataclass
class OwnerUsage:
    """Sums over an owner's replies. cost: None if no cost is known. uncosted: replies without a known cost."""

    replies: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    uncosted: int = 0

    def add(self, row: Any) -> None:
        """Add a row with the columns of DailyOwnerUsage."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(row, name))
        if row.cost is not None:
            self.cost = (self.cost or Decimal(0)) + row.cost

    @property
    def rank(self) -> tuple[Decimal, int]:
        """What orders owners: the cost, and on a site without prices the tokens."""
        return self.cost or Decimal(0), self.input_tokens + self.output_tokens


def usage_of(owner_key: str, days: int) -> dict[date, OwnerUsage]:
    """Return what one owner has used on each of the last days (UTC), including today. Three queries."""
    used = {today() - timedelta(number): OwnerUsage() for number in reversed(range(days))}
    for row in [*_saved(days).filter(owner_key=owner_key), *count_owners(*_live(days), owner_key)]:
        # The day may have changed between two calls of `today`.
        if row.day in used:
            used[row.day].add(row)
    return used


def total(usages: Iterable[OwnerUsage]) -> OwnerUsage:
    """Return the sum of some of these."""
    summed = OwnerUsage()
    for usage in usages:
        summed.add(usage)
    return summed


def top_owners(days: int) -> list[tuple[str, OwnerUsage]]:
    """Return the owner keys with the highest cost in the last days (UTC), including today, and what they used.

    Four queries. Exact if at most _MAX_LIVE owners were active on the live days.
    """
    by_owner: dict[str, OwnerUsage] = defaultdict(OwnerUsage)
    for row in count_owners(*_live(days)):
        by_owner[row.owner_key].add(row)
    live = dict(_highest(by_owner, _MAX_LIVE))
    sums = _saved(days).order_by().values("owner_key").annotate(**_totals())
    ranked = sums.order_by(_or_zero("dollars").desc(), F("tokens").desc())[:MAX_OWNERS]
    # By key, since an owner may be in both.
    found = {row["owner_key"]: row for rows in (ranked, sums.filter(owner_key__in=list(live))) for row in rows}
    for key, row in found.items():
        live.setdefault(key, OwnerUsage()).add(_as_usage(row))
    return _highest(live, MAX_OWNERS)


def _highest(by_owner: dict[str, OwnerUsage], count: int) -> list[tuple[str, OwnerUsage]]:
    return sorted(by_owner.items(), key=lambda item: (item[1].rank, item[0]), reverse=True)[:count]


def _live(days: int) -> tuple[date, int]:
    """Return the first of the days that are counted now, and how many there are."""
    count = min(days, LIVE_DAYS)
    return today() - timedelta(count - 1), count


def _saved(days: int) -> Any:
    """Return the saved rows of the last days, before the live ones."""
    first = today() - timedelta(days - 1)
    return DailyOwnerUsage.objects.using(live_database()).filter(day__gte=first, day__lt=_live(days)[0])


def _totals() -> dict[str, Any]:
    return {
        "reply_count": Sum("replies"),
        "inputs": Sum("input_tokens"),
        "outputs": Sum("output_tokens"),
        "dollars": Sum("cost"),
        "unknown": Sum("uncosted"),
        "tokens": Sum(F("input_tokens") + F("output_tokens")),
    }


def _or_zero(name: str) -> Coalesce:
    return Coalesce(F(name), Value(Decimal(0)), output_field=DecimalField(max_digits=20, decimal_places=8))


def _as_usage(row: dict[str, Any]) -> OwnerUsage:
    # PostgreSQL's sums of big integers are decimals.
    replies, inputs, outputs, unknown = (int(row[name]) for name in ("reply_count", "inputs", "outputs", "unknown"))
    return OwnerUsage(replies, inputs, outputs, row["dollars"], unknown)
