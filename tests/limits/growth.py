"""How the cost of work grows with its input, in ratios and counts. Never in seconds, which are the machine's.

assert ratio(lambda size: render("!" * size), 8_000, 16_000) < LINEAR

with counted() as work:
    client.get(address)
assert work.rows < 200
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connections
from django.db.backends.utils import CursorWrapper

# For an input of twice the size: linear work takes about twice as long, quadratic work four times.
LINEAR = 3
_ROUNDS = 5


def ratio(
    work: Callable[[int], object], small: int, large: int, *, rounds: int = _ROUNDS, patience: float = 10
) -> float:
    """Return how many times the CPU time of work(large) is that of work(small), each the least of several rounds.

    Only this thread's time counts, and what else the machine does only adds to it. So there are further rounds while
    the ratio is above LINEAR, for `patience` seconds.
    """
    least = dict.fromkeys((small, large), math.inf)
    deadline = time.monotonic() + patience
    for number in itertools.count(1):
        for size in least:
            least[size] = min(least[size], seconds(partial(work, size)))
        found = least[large] / least[small]
        if number >= rounds and (found < LINEAR or time.monotonic() > deadline):
            break
    return found


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this thread for some work, without the garbage collector.

    Its time grows with all objects of the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.thread_time()
        work()
        return time.thread_time() - began
    finally:
        if was_enabled:
            gc.enable()


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
