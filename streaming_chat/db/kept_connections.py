"""The connections of a background thread between two pieces of work: kept as long as those of a request's thread."""

from __future__ import annotations

import time

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper


def keep_connections() -> list[BaseDatabaseWrapper]:
    """Treat this thread's connections as Django does after a request, and return the open ones.

    It closes each connection that may be broken, and each whose CONN_MAX_AGE has passed, which is any if it is 0.
    """
    close_old_connections()
    return [connection for connection in connections.all(initialized_only=True) if connection.connection is not None]


def seconds_kept(kept: list[BaseDatabaseWrapper]) -> float | None:
    """Return for how many seconds none of these has to be closed; None for ever."""
    ends = [connection.close_at for connection in kept if connection.close_at is not None]
    return max(min(ends) - time.monotonic(), 0.0) if ends else None
