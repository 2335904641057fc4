"""Pagination for lists of a million rows, which are not counted."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

# For rows further back, there are filters and the search. Counting 1,000 rows takes 1 ms, a million 100 ms and more.
MAX_COUNT = 1_000


class MaxCount(int):
    """MAX_COUNT rows or more."""

    def __str__(self) -> str:
        # Three characters, since templates group by three where the site asks for it.
        return f"{int(self) // 1000}k+"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # Generic in the stubs only.
    """Counts up to MAX_COUNT; there are no pages beyond it."""

    object_list: Any

    @cached_property
    def count(self) -> int:
        """The number of rows, at most MAX_COUNT."""
        found = self.object_list.order_by()[:MAX_COUNT].count()
        return found if found < MAX_COUNT else MaxCount(MAX_COUNT)
