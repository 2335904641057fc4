"""The numbers of the last days for a page: the saved counts of each day, and live counts of today.

No text and nothing about a person. At most LIVE_DAYS days are counted during the request: those that no roll-up can have
saved yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import DailyUsage
from streaming_chat.protocol import endings

from .days import today
from .histograms import FIRST_EVENT_MS, TOKENS_PER_SECOND, add
from .rollups import count_day
from .tools import ToolTotals, tool_totals

# Today, and yesterday until the nightly roll-up has run.
LIVE_DAYS = 2
# Models and errors in a table, the most frequent first: with `alias:*`, users may ask for any name.
MAX_ROWS = 100
_COLUMNS = (
    "day", "model", "provider", "status", "error_code", "replies", "input_tokens", "cached_input_tokens",
    "cache_write_tokens", "output_tokens", "cost", "uncosted", "first_event_counts", "speed_counts", "good", "bad",
)  # fmt: skip
# Of those, the ones that are simply added up.
_SUMMED = (
    "replies", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "good", "bad",
)  # fmt: skip


@dataclass
class Totals:
    """Sums over replies. cost: None if no cost is known. uncosted: replies without a known cost that may have one."""

    replies: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    uncosted: int = 0
    first_event_counts: list[int] = field(default_factory=list)
    speed_counts: list[int] = field(default_factory=list)
    good: int = 0
    bad: int = 0

    def add(self, row: Any) -> None:
        """Add a row of DailyUsage."""
        self.statuses[row.status] += row.replies
        # Failed replies cost nothing, or little if the model only reasoned, and live ones are not known yet.
        if row.status not in {endings.FAILED, *endings.LIVE}:
            self.uncosted += row.uncosted
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(row, name))
        if row.cost is not None:
            self.cost = (self.cost or Decimal(0)) + row.cost
        self.first_event_counts = add(self.first_event_counts, row.first_event_counts)
        self.speed_counts = add(self.speed_counts, row.speed_counts)

    @property
    def completed(self) -> int:
        """Replies that the model finished."""
        return self.statuses[endings.COMPLETED]

    @property
    def stopped(self) -> int:
        """Replies that someone stopped."""
        return self.statuses[endings.STOPPED]

    @property
    def interrupted(self) -> int:
        """Replies that ended early because of an error."""
        return self.statuses[endings.INTERRUPTED]

    @property
    def failed(self) -> int:
        """Replies that ended before any text arrived."""
        return self.statuses[endings.FAILED]

    @property
    def others(self) -> int:
        """Live replies, and those with a status of a newer version of the app."""
        return self.replies - self.completed - self.stopped - self.interrupted - self.failed

    @property
    def first_event_median(self) -> float | None:
        """Median time to the first event, in milliseconds."""
        return FIRST_EVENT_MS.quantile(self.first_event_counts, 0.5)

    @property
    def first_event_p95(self) -> float | None:
        """95th percentile of the time to the first event, in milliseconds."""
        return FIRST_EVENT_MS.quantile(self.first_event_counts, 0.95)

    @property
    def speed_median(self) -> float | None:
        """Median speed after the first event, in tokens per second."""
        return TOKENS_PER_SECOND.quantile(self.speed_counts, 0.5)

    @property
    def speed_p5(self) -> float | None:
        """Speed that 95 % of replies reached, in tokens per second."""
        return TOKENS_PER_SECOND.quantile(self.speed_counts, 0.05)


@dataclass
class Report:
    """What the page shows.

    models: all models, also if the report is about one. errors: (code, provider, count). missing: days without counts.
    tools: of all models; none if the site has no tools.
    """

    days: dict[date, Totals]
    total: Totals
    by_model: list[tuple[str, Totals]]
    errors: list[tuple[str, str, int]]
    models: list[str]
    missing: list[date]
    tools: list[ToolTotals] = field(default_factory=list)

    @classmethod
    def of_last(cls, days: int, model: str = "") -> Report:
        """Return the numbers of the last days (UTC), including today, of one model or of all.

        At most 9 queries, however many messages there are.
        """
        last = today()
        dates = [last - timedelta(number) for number in reversed(range(days))]
        report = cls({day: Totals() for day in dates}, Totals(), [], [], [], [])
        live: list[date] = []
        report._read(report._rows(last, live), model)
        if conf.STREAMING_CHAT_TOOLS:
            report.tools = tool_totals(dates[0], last, live)
        return report

    def _rows(self, last: date, live: list[date]) -> Iterator[Any]:
        """Yield the counts. live: gets the days that are counted now."""
        usage = DailyUsage.objects.using(live_database()).filter(day__gte=min(self.days), day__lt=last)
        counted = set()
        # Named tuples, not models, which took twice as long for 90 days with 24 rows each.
        for row in usage.order_by("day").values_list(*_COLUMNS, named=True):
            counted.add(row.day)
            yield row
        first = min(counted, default=min(self.days))
        missing = [day for day in self.days if day not in counted and day >= first]
        for day in missing[-LIVE_DAYS:]:
            if last - day < timedelta(LIVE_DAYS):
                missing.remove(day)
                live.append(day)
                yield from count_day(day)
        self.missing = missing

    def _read(self, rows: Iterable[Any], model: str) -> None:
        by_model: dict[str, Totals] = defaultdict(Totals)
        errors: Counter[tuple[str, str]] = Counter()
        for row in rows:
            by_model[row.model].add(row)
            if model and row.model != model:
                continue
            self.days[row.day].add(row)
            self.total.add(row)
            if row.error_code:
                errors[row.error_code, row.provider] += row.replies
        self.errors = [(code, provider, count) for (code, provider), count in errors.most_common(MAX_ROWS)]
        self._list_models(by_model, model)

    def _list_models(self, by_model: dict[str, Totals], model: str) -> None:
        by_count = sorted(by_model.items(), key=lambda item: (-item[1].replies, item[0]))
        self.models = [name for name, _totals in by_count if name][:MAX_ROWS]
        # One that only gives titles has no replies.
        used = [(name, totals) for name, totals in by_count if totals.replies or totals.output_tokens]
        self.by_model = [(name, totals) for name, totals in used if model in {"", name}][:MAX_ROWS]
