"""Transactions that write. This module is the only place in the app that opens one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import OperationalError, connections, transaction

from .alias import live_database
from .errors import is_conflict
from .locks import bounded_lock_wait

T = TypeVar("T")

# A worker that is paused in a transaction holds its rows for as long as it is paused.
LOCK_SECONDS = 2.0
_DEADLOCK_RETRIES = 5


def write_transaction(write: Callable[[], T], *, using: str | None = None, lock_seconds: float = LOCK_SECONDS) -> T:
    """Call `write` in a transaction, and return its result. Blocking.

    write: the whole transaction. After a deadlock it is called again, so it must change nothing but the database.
    using: by default, the database of live replies. lock_seconds: longest wait for each lock on PostgreSQL; on SQLite it
    is the database's `timeout`.

    Inside another transaction it is a savepoint and a deadlock is raised, since the outer transaction is lost with it.
    Raises OperationalError if a lock is not free in time; see `errors.is_locked`.
    """
    using = using or live_database()
    retries = 0 if connections[using].in_atomic_block else _DEADLOCK_RETRIES
    for _retry in range(retries):
        try:
            return _write_once(write, using, lock_seconds)
        except OperationalError as error:
            if not is_conflict(error):
                raise
    return _write_once(write, using, lock_seconds)


def _write_once(write: Callable[[], T], using: str, lock_seconds: float) -> T:
    with transaction.atomic(using=using), bounded_lock_wait(using, lock_seconds):
        return write()


@contextmanager
def savepoint(using: str) -> Iterator[None]:
    """Undo only what is inside if it fails; the transaction around it goes on."""
    with transaction.atomic(using=using):
        yield
