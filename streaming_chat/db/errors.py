"""Tells a database that is away, which is waited for, from a value that it refuses, which harms one reply only."""

from __future__ import annotations

import sqlite3

from django.db import InterfaceError, InternalError, OperationalError

# Classes of SQLSTATE that say "later": connection, rollback by a deadlock, resources, a lock, an operator, the system.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_LATER = ("08", "40", "53", "55", "57", "58")
# A primary that has become a standby: the next connection may reach the new one. A transaction that stood still for
# longer than the server allows, as that of a process which was paused; its connection is gone.
_SESSION_LOST = ("25006", "25P03", "25P04")
_CONFLICT = "40"
_LOCK_NOT_AVAILABLE = "55P03"
# The whole database, or within one process. The lowest byte says which kind of error: https://www.sqlite.org/rescode.html
_SQLITE_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_away(error: BaseException) -> bool:
    """Return whether the same statement may succeed later, on a fresh connection."""
    if isinstance(error, InterfaceError):
        return True
    state = _sqlstate(error)
    if isinstance(error, OperationalError):
        # Without one: the connection was lost, or SQLite is locked, full or read-only.
        return not state or state.startswith(_LATER)
    return isinstance(error, InternalError) and state in _SESSION_LOST


def is_locked(error: BaseException) -> bool:
    """Return whether somebody holds a row for longer than `lock_timeout`: perhaps a worker that is paused."""
    return _sqlstate(error) == _LOCK_NOT_AVAILABLE


def is_conflict(error: BaseException) -> bool:
    """Return whether the transaction was undone for another's sake: a deadlock. The same may succeed at once."""
    return _sqlstate(error).startswith(_CONFLICT)


def is_busy(error: BaseException) -> bool:
    """Return whether somebody else stood in its way, on either database: the same may succeed in a moment."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0)
    return is_locked(error) or is_conflict(error) or (code & 0xFF) in _SQLITE_BUSY


def _sqlstate(error: BaseException) -> str:
    cause = error.__cause__
    # psycopg says sqlstate, psycopg2 pgcode.
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
