"""How the cost of work grows with its input, in ratios and counts. Never in seconds, which are the machine's.

assert ratio(lambda size: render("!" * size), 8_000, 16_000) < 3

with counted() as work:
    client.get(address)
assert work.rows < 200
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.utils import CursorWrapper

_ROUNDS = 5


def ratio(work: Callable[[int], object], small: int, large: int, *, rounds: int = _ROUNDS) -> float:
    """Return how many times the CPU time of work(large) is that of work(small), each the least of several rounds.

    Linear work on twice as much gives about 2, quadratic work about 4. Only this thread's time counts.
    """
    seconds: dict[int, list[float]] = {small: [], large: []}
    for _round in range(rounds):
        for size, found in seconds.items():
            began = time.thread_time()
            work(size)
            found.append(time.thread_time() - began)
    return min(seconds[large]) / min(seconds[small])


@dataclass
class DatabaseWork:
    """What was asked of a database. rows: that were read."""

    statements: int = 0
    rows: int = 0


@contextlib.contextmanager
def counted(using: str = "default") -> Iterator[DatabaseWork]:
    """Count this thread's work with a database while the block lasts."""
    connection = connections[using]
    work = DatabaseWork()
    # An attribute of the connection, which hides its method of the same name.
    connection.make_cursor = lambda cursor: _CountingCursor(work, cursor, connection)
    try:
        with connection.execute_wrapper(partial(_count_statement, work)):
            yield work
    finally:
        del connection.make_cursor


def _count_statement(work: DatabaseWork, execute: Any, *arguments: Any) -> Any:
    work.statements += 1
    return execute(*arguments)


class _CountingCursor(CursorWrapper):
    """Django's cursor, which notes how many rows are taken from it."""

    def __init__(self, work: DatabaseWork, cursor: Any, connection: Any) -> None:
        super().__init__(cursor, connection)
        self._work = work

    def fetchone(self) -> Any:
        row = super().__getattr__("fetchone")()
        self._work.rows += row is not None
        return row

    def fetchmany(self, *size: int) -> Any:
        return self._count(super().__getattr__("fetchmany")(*size))

    def fetchall(self) -> Any:
        return self._count(super().__getattr__("fetchall")())

    def __iter__(self) -> Iterator[Any]:
        for row in super().__iter__():
            self._work.rows += 1
            yield row

    def _count(self, rows: Any) -> Any:
        self._work.rows += len(rows)
        return rows
