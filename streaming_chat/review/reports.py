"""What reviewers did in the last days: finished reviews, verdicts and labels, and how often two of them agree.

It has names of reviewers and labels, and no other text. Three queries. A verdict belongs to the day (UTC) on which its
reviewer last changed it, a review to the day on which it was finished.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Count, DateField, F, Func, QuerySet
from django.utils import timezone

from streaming_chat.db.alias import live_database
from streaming_chat.models import Review, Verdict

# Verdicts on what several people judged, the newest first: comparing more takes longer than a page may.
MAX_COMPARED = 10_000


class _Day(Func):
    """The day (UTC) of a time. On SQLite, TruncDate calls Python for each row."""

    # Times are stored in UTC.
    function = "DATE"
    output_field = DateField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Convert the time, which PostgreSQL shows in the time zone of the connection."""
        return self.as_sql(compiler, connection, template="(%(expressions)s AT TIME ZONE 'UTC')::date", **context)


@dataclass
class Totals:
    """Sums over a day, a reviewer, or everything. verdicts: by value, "" for labels alone."""

    reviews: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)

    @property
    def judged(self) -> int:
        """All verdicts, except rows that have only labels."""
        return self.verdicts.total() - self.verdicts[""]


@dataclass
class Agreement:
    """Two reviewers who judged the same conversations or messages. pairs: how many of these. agreed: with one verdict."""

    pairs: int = 0
    agreed: int = 0

    def add(self, *, is_agreed: bool) -> None:
        """Count one more."""
        self.pairs += 1
        self.agreed += is_agreed


@dataclass
class ReviewReport:
    """What the page shows. by_reviewer: by username, "" for deleted accounts. by_label: the most frequent first.

    agreements: by the names of both. is_cut: only the newest MAX_COMPARED verdicts were compared.
    """

    days: dict[date, Totals]
    total: Totals = field(default_factory=Totals)
    by_reviewer: dict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    by_label: list[tuple[str, int]] = field(default_factory=list)
    agreement: Agreement = field(default_factory=Agreement)
    agreements: dict[tuple[str, str], Agreement] = field(default_factory=lambda: defaultdict(Agreement))
    is_cut: bool = False

    @classmethod
    def of_last(cls, days: int) -> ReviewReport:
        """Return the numbers of the last days (UTC), including today."""
        last = timezone.now().astimezone(UTC).date()
        report = cls({last - timedelta(number): Totals() for number in reversed(range(days))})
        since = datetime.combine(min(report.days), time(), UTC)
        report._count_reviews(since)
        report._count_verdicts(since)
        report._compare(since)
        return report

    def _count_reviews(self, since: datetime) -> None:
        rows = Review.objects.using(live_database()).filter(done_at__gte=since).order_by()
        by_day = rows.values_list(_Day("done_at"), _name("done_by")).annotate(count=Count("pk"))
        for day, name, count in by_day:
            for totals in self._totals_of(day, name):
                totals.reviews += count

    def _count_verdicts(self, since: datetime) -> None:
        labelled: Counter[str] = Counter()
        rows = _verdicts(since).order_by().values_list(_Day("updated_at"), _name("by"), "value", "labels")
        for day, name, value, labels, count in rows.annotate(count=Count("pk")):
            labelled.update(dict.fromkeys(labels, count))
            for totals in self._totals_of(day, name):
                totals.verdicts[value] += count
        self.by_label = sorted(labelled.items(), key=lambda item: (-item[1], item[0]))

    def _totals_of(self, day: date, name: str | None) -> Iterable[Totals]:
        # A row of the next day may have come since the report began.
        of_day = [self.days[day]] if day in self.days else []
        return [*of_day, self.total, self.by_reviewer[name or ""]]

    def _compare(self, since: datetime) -> None:
        """Compare the verdicts on what two or more people judged: the same message, or the same conversation as a whole."""
        rows = list(_judged_by_several(since)[: MAX_COMPARED + 1])
        self.is_cut = len(rows) > MAX_COMPARED
        by_target = defaultdict(list)
        for conversation, message, name, value in rows[:MAX_COMPARED]:
            by_target[conversation, message].append((str(name), value))
        for verdicts in by_target.values():
            for (one, first), (other, second) in combinations(sorted(verdicts), 2):
                self.agreements[one, other].add(is_agreed=first == second)
                self.agreement.add(is_agreed=first == second)


def _judged_by_several(since: datetime) -> QuerySet[Any, Any]:
    valued = _verdicts(since).exclude(value="").filter(by__isnull=False).order_by()
    people = Count("by", distinct=True)
    several = valued.values("conversation").annotate(people=people).filter(people__gt=1).values("conversation")
    rows = valued.filter(conversation__in=several).order_by("-pk")
    return rows.values_list("conversation_id", "message_id", _name("by"), "value")


def _verdicts(since: datetime) -> QuerySet[Verdict]:
    return Verdict.objects.using(live_database()).filter(updated_at__gte=since)


def _name(reviewer: str) -> F:
    return F(f"{reviewer}__{get_user_model().USERNAME_FIELD}")
