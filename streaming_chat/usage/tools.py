"""Numbers per tool: how often each was called, what became of the calls, and how long they took. No text.

A call belongs to the day (UTC) on which its reply began, by the id of the reply. The calls of all names that no tool has
had, which a model may have invented, are counted together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db.models import Case, Count, Exists, F, OuterRef, Q, Value, When

from streaming_chat.db.alias import live_database
from streaming_chat.db.uuid7 import first_of
from streaming_chat.models import DailyToolUsage, ToolCall

from .days import start_of
from .histograms import TOOL_MS, add

_State = ToolCall.State
# Tools in the table, those with the most calls first.
MAX_ROWS = 100


@dataclass
class ToolTotals:
    """Sums over the calls of a tool. name: "" for names that no tool has had."""

    name: str
    statuses: Counter[str] = field(default_factory=Counter)
    ms_counts: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """All calls, also those without a result yet."""
        return sum(self.statuses.values())

    @property
    def median(self) -> float | None:
        """Median time that the tool ran, in milliseconds."""
        return TOOL_MS.quantile(self.ms_counts, 0.5)

    @property
    def p95(self) -> float | None:
        """95th percentile of the time that the tool ran, in milliseconds."""
        return TOOL_MS.quantile(self.ms_counts, 0.95)


def count_tools(first: date, end: date) -> list[DailyToolUsage]:
    """Return the current counts of the calls from a day on and before another, as of the first day, unsaved.

    One query.
    """
    counted: dict[tuple[str, str], DailyToolUsage] = {}
    for row in _groups(first, end):
        key = (row["tool"], row["status"])
        usage = counted.setdefault(key, DailyToolUsage(day=first, name=key[0], status=key[1]))
        usage.calls += row["count"]
        if (bucket := row["bucket"]) is not None:
            usage.ms_counts = TOOL_MS.count_in(usage.ms_counts, bucket, row["count"])
    return list(counted.values())


def tool_totals(first: date, last: date, live: Iterable[date]) -> list[ToolTotals]:
    """Return the numbers of each tool for these days, the most used first. Two queries.

    live: the last days, which are counted now.
    """
    saved = DailyToolUsage.objects.using(live_database()).filter(day__gte=first, day__lt=last)
    totals: dict[str, ToolTotals] = {}
    since = min(live, default=None)
    for row in [*saved, *(count_tools(since, date.max) if since else ())]:
        total = totals.setdefault(row.name, ToolTotals(row.name))
        total.statuses[row.status] += row.calls
        total.ms_counts = add(total.ms_counts, row.ms_counts)
    return sorted(totals.values(), key=lambda total: (-total.calls, total.name))[:MAX_ROWS]


def _groups(first: date, end: date) -> Iterable[Any]:
    calls = ToolCall.objects.using(live_database()).filter(message_id__gte=first_of(start_of(first).timestamp()))
    if end < date.max:
        calls = calls.filter(message_id__lt=first_of(start_of(end).timestamp()))
    has_run = Q(started_at__isnull=False, status__in=(_State.OK, _State.ERROR))
    # A call that did not run has no digest, but the name may be that of a tool all the same.
    of_tool = ToolCall.objects.exclude(digest="").filter(name=OuterRef("name"))
    tool = Case(When(~Q(digest="") | Exists(of_tool), then=F("name")), default=Value(""))
    return (
        calls.annotate(tool=tool, took=Case(When(has_run, then=F("ms"))))
        .annotate(bucket=TOOL_MS.bucket("took"))
        .order_by()
        .values("tool", "status", "bucket")
        .annotate(count=Count("pk"))
    )
