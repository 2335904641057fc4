"""The numbers of a range of days, added up for a page: from the kept sums of each day, and from what is there of today.

No text, no person. At most LIVE_DAYS days are counted while somebody waits, those that no roll-up can have reached yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from streaming_chat.db.alias import live_database
from streaming_chat.models import DailyUsage
from streaming_chat.protocol import endings

from .histograms import FIRST_EVENT_MS, TOKENS_PER_SECOND, add
from .rollups import count_day, today

# Today, and yesterday until the nightly roll-up has run.
LIVE_DAYS = 2
# Models and errors that are listed, the most frequent first: with an `alias:*` people may ask for any name they make up.
MOST_LISTED = 100
_FIELDS = (
    "day", "model", "provider", "status", "error_code", "replies", "input_tokens", "output_tokens", "cost", "uncosted",
    "first_event_counts", "speed_counts", "good", "bad",
)  # fmt: skip


@dataclass
class Numbers:
    """Sums over any replies. cost: None where no cost is known. uncosted: replies of unknown cost that may have one."""

    replies: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    uncosted: int = 0
    first_event_counts: list[int] = field(default_factory=list)
    speed_counts: list[int] = field(default_factory=list)
    good: int = 0
    bad: int = 0

    def take(self, row: Any) -> None:
        """Add a row of DailyUsage."""
        self.replies += row.replies
        self.statuses[row.status] += row.replies
        self.input_tokens += row.input_tokens
        self.output_tokens += row.output_tokens
        if row.cost is not None:
            self.cost = (self.cost or Decimal(0)) + row.cost
        if row.status not in {endings.FAILED, endings.STREAMING}:
            # Nothing came of the others, or not yet.
            self.uncosted += row.uncosted
        self.first_event_counts = add(self.first_event_counts, row.first_event_counts)
        self.speed_counts = add(self.speed_counts, row.speed_counts)
        self.good += row.good
        self.bad += row.bad

    def include(self, other: Numbers) -> None:
        """Add other sums."""
        self.statuses.update(other.statuses)
        if other.cost is not None:
            self.cost = (self.cost or Decimal(0)) + other.cost
        for name in ("replies", "input_tokens", "output_tokens", "uncosted", "good", "bad"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_event_counts = add(self.first_event_counts, other.first_event_counts)
        self.speed_counts = add(self.speed_counts, other.speed_counts)

    @property
    def completed(self) -> int:
        """Replies that their model finished."""
        return self.statuses[endings.COMPLETED]

    @property
    def stopped(self) -> int:
        """Replies that someone ended."""
        return self.statuses[endings.STOPPED]

    @property
    def interrupted(self) -> int:
        """Replies that broke off."""
        return self.statuses[endings.INTERRUPTED]

    @property
    def failed(self) -> int:
        """Replies of which nothing arrived."""
        return self.statuses[endings.FAILED]

    @property
    def others(self) -> int:
        """Replies that are being written, or ended as a newer version of the app says."""
        return self.replies - self.completed - self.stopped - self.interrupted - self.failed

    @property
    def first_event_median(self) -> float | None:
        """Milliseconds to the first event."""
        return FIRST_EVENT_MS.quantile(self.first_event_counts, 0.5)

    @property
    def first_event_p95(self) -> float | None:
        """Milliseconds that 19 of 20 replies did not exceed."""
        return FIRST_EVENT_MS.quantile(self.first_event_counts, 0.95)

    @property
    def speed_median(self) -> float | None:
        """Tokens a second after the first event."""
        return TOKENS_PER_SECOND.quantile(self.speed_counts, 0.5)

    @property
    def speed_p5(self) -> float | None:
        """Tokens a second that 19 of 20 replies reached."""
        return TOKENS_PER_SECOND.quantile(self.speed_counts, 0.05)


@dataclass
class Report:
    """What a page shows. models: the choices, whatever is chosen. missing: days of the range that nobody has counted."""

    days: dict[date, Numbers]
    total: Numbers
    by_model: list[tuple[str, Numbers]]
    errors: list[tuple[str, str, int]]
    models: list[str]
    missing: list[date]

    @classmethod
    def over(cls, days: int, model: str = "") -> Report:
        """Return the numbers of the last so many days (UTC), today included, of one model or of all.

        At most 5 queries, however many messages there are.
        """
        last = today()
        report = cls(
            {last - timedelta(number): Numbers() for number in reversed(range(days))}, Numbers(), [], [], [], []
        )
        report._read(report._rows(last), model)
        return report

    def _rows(self, last: date) -> Iterator[Any]:
        usage = DailyUsage.objects.using(live_database()).filter(day__gte=min(self.days), day__lt=last)
        counted = set()
        # Not as models: of 90 days with 24 rows these took twice as long.
        for row in usage.order_by("day").values_list(*_FIELDS, named=True):
            counted.add(row.day)
            yield row
        left = [day for day in self.days if day not in counted and day >= min(counted, default=min(self.days))]
        for day in left[-LIVE_DAYS:]:
            if last - day < timedelta(LIVE_DAYS):
                left.remove(day)
                yield from count_day(day)
        self.missing = left

    def _read(self, rows: Iterable[Any], model: str) -> None:
        models: dict[str, Numbers] = defaultdict(Numbers)
        errors: Counter[tuple[str, str]] = Counter()
        for row in rows:
            models[row.model].take(row)
            if model and row.model != model:
                continue
            self.days[row.day].take(row)
            if row.error_code:
                errors[row.error_code, row.provider] += row.replies
        for numbers in self.days.values():
            self.total.include(numbers)
        found = sorted(models.items(), key=lambda item: (-item[1].replies, item[0]))
        self.models = [name for name, _numbers in found if name][:MOST_LISTED]
        self.by_model = [(name, numbers) for name, numbers in found if numbers.replies and model in {"", name}][
            :MOST_LISTED
        ]
        self.errors = [(code, provider, count) for (code, provider), count in errors.most_common(MOST_LISTED)]
