"""Histograms with fixed buckets, so that days can be added and medians read from the sum. No I/O.

Four bounds to a doubling, each 1.19 times the one before. A quantile is read within a bucket: it is right to a few percent,
and at worst, where all values of its bucket lie at one end, to 19.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from django.db.models import Case, F, FloatField, Value, When
from django.db.models.functions import Cast, Floor, Ln

_TO_A_DOUBLING = 4


class Scale:
    """The buckets of one measure: below the first bound, between two, and from the last one on."""

    def __init__(self, first: float, count: int) -> None:
        self.bounds = tuple(first * 2 ** (index / _TO_A_DOUBLING) for index in range(count))
        self.size = count + 1

    def bucket(self, field: str) -> Case:
        """Return the expression for the bucket of a column or annotation, not cut off at the last; null for null.

        By the logarithm: to compare with each bound took 30 ms to write down as SQL, and more to execute.
        """
        first = self.bounds[0]
        steps = Ln(Cast(F(field), FloatField()) / Value(first)) / Value(math.log(2) / _TO_A_DOUBLING)
        return Case(
            When(**{f"{field}__lt": first}, then=Value(0.0)),
            When(**{f"{field}__gte": first}, then=Floor(steps) + Value(1.0)),
            output_field=FloatField(),
        )

    def count_in(self, counts: list[int], bucket: float, count: int) -> list[int]:
        """Return a histogram with so many more in a bucket."""
        counts = counts or [0] * self.size
        counts[min(int(bucket), self.size - 1)] += count
        return counts

    def quantile(self, counts: Sequence[int], share: float) -> float | None:
        """Return the value that this share of what was counted does not exceed; None when nothing was.

        As if the values of a bucket were spread evenly over it; the last one has no end and gives its beginning.
        """
        rank = share * sum(counts)
        if not rank:
            return None
        for index, count in enumerate(counts):
            if count and rank <= count:
                low, high = self._edges(index)
                return low + (high - low) * rank / count
            rank -= count
        return self.bounds[-1]  # What floating point left of the last rank.

    def _edges(self, index: int) -> tuple[float, float]:
        low = self.bounds[index - 1] if index else 0.0
        return low, self.bounds[min(index, len(self.bounds) - 1)]


def add(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Return the sum of two histograms; [] is one of nothing. Raises ValueError for those of two scales."""
    if not one or not other:
        return list(one or other)
    if len(one) != len(other):
        raise ValueError(f"two histograms of one scale were wanted, got {len(one)} and {len(other)} buckets.")
    # In C: a page of 90 days adds 8,500 of them.
    return list(map(operator.add, one, other))


# 0.1 to 51 s; by default FIRST_EVENT_SECONDS ends it at 60.
FIRST_EVENT_MS = Scale(100, 37)
# 2 to 512 tokens a second.
TOKENS_PER_SECOND = Scale(2, 33)
