"""Transactions that write. This module is the only place in the app that opens one.

Another session may hold a row for as long as it likes: a worker that is paused inside its transaction, or a view of the
site under ATOMIC_REQUESTS. So nothing here waits for a lock longer than a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import DatabaseError, OperationalError, connections, transaction

from .alias import live_database
from .errors import is_conflict

T = TypeVar("T")

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


@contextmanager
def savepoint(using: str) -> Iterator[None]:
    """Undo only the block if it fails; a transaction around it goes on. For blocks that wait for no lock."""
    with transaction.atomic(using=using):
        yield


@contextmanager
def one_statement(using: str) -> Iterator[None]:
    """As `savepoint`, for a block of a single statement: SQLite undoes one that fails by itself."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        with savepoint(using):
            yield
        return
    try:
        yield
    except DatabaseError:
        # With some errors, such as a full disk, SQLite has ended the whole transaction.
        if not connection.connection.in_transaction:
            connection.needs_rollback = True
        raise


def _write_once(write: Callable[[], T], using: str, lock_seconds: float) -> T:
    with transaction.atomic(using=using), _lock_timeout(using, lock_seconds):
        return write()


@contextmanager
def _lock_timeout(using: str, seconds: float) -> Iterator[None]:
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        outer_timeout = _current_lock_timeout(cursor) if connection.savepoint_ids else None
        cursor.execute(f"SET LOCAL lock_timeout = {round(seconds * 1000)}")
    yield
    # After an error the savepoint's rollback restores it.
    if outer_timeout is not None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [outer_timeout])


def _current_lock_timeout(cursor: Any) -> str:
    cursor.execute("SHOW lock_timeout")
    return cursor.fetchone()[0]
