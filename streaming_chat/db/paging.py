"""Reads and writes many rows a page at a time, by primary key.

No transaction and no server-side cursor stays open between two pages; cursors break behind pgbouncer in transaction mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from django.db import OperationalError
from django.db.models import QuerySet

from .errors import is_conflict, is_locked
from .transactions import write_transaction

T = TypeVar("T")


def pages(rows: QuerySet[Any, Any], size: int, *, key: str, after: Any = None) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a `values()` query in the order of their primary keys, `size` at a time.

    key: name of the primary key among the values. after: begin after this key.
    """
    rows = rows.order_by("pk")
    while True:
        page = list((rows if after is None else rows.filter(pk__gt=after))[:size])
        if page:
            yield page
        if len(page) < size:
            # Looking once more might never end while rows are added.
            return
        after = page[-1][key]


def key_pages(rows: QuerySet[Any, Any], size: int) -> Iterator[list[Any]]:
    """Yield the primary keys of a query in order, `size` at a time."""
    for page in pages(rows.values("pk"), size, key="pk"):
        yield [row["pk"] for row in page]


def write_pages(rows: QuerySet[Any, Any], size: int, write: Callable[[list[Any]], T]) -> Iterator[T]:
    """Call `write` with the primary keys of each page in a transaction of its own, and yield the results.

    Pages with rows that another session has locked are skipped. The rows may change between the query and the
    transaction: `write` must lock them and check again.
    """
    for keys in key_pages(rows, size):
        try:
            yield write_transaction(partial(write, keys))
        except OperationalError as error:
            if not (is_locked(error) or is_conflict(error)):
                raise
