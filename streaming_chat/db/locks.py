"""How long a lock is waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db import connections


@contextlib.contextmanager
def bounded_lock_wait(using: str, seconds: float = 2.0) -> Iterator[None]:
    """Wait at most so long for each lock of this transaction: a process that is paused in its own may hold it for ever.

    PostgreSQL only; SQLite has its `timeout`.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        before = _lock_timeout(cursor) if connection.savepoint_ids else None
        cursor.execute(f"SET LOCAL lock_timeout = {round(seconds * 1000)}")
    yield
    if before is not None:
        # Inside a transaction of the site's own, which goes on after ours.
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])


def _lock_timeout(cursor: Any) -> str:
    cursor.execute("SHOW lock_timeout")
    return cursor.fetchone()[0]
