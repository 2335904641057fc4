"""Tells errors after which the same statement may succeed later from those of a value that the database rejects."""

from __future__ import annotations

import sqlite3

from django.db import InterfaceError, InternalError, OperationalError

# Classes of SQLSTATE that are temporary: connection, rollback by a deadlock, resources, a lock, an operator, the system.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_LATER = ("08", "40", "53", "55", "57", "58")
# The primary has become a standby: the next connection may reach the new primary. Or a transaction was idle for longer
# than the server allows, as in a process that was paused; its connection is closed.
_SESSION_LOST = ("25006", "25P03", "25P04")
_CONFLICT = "40"
_LOCK_NOT_AVAILABLE = "55P03"
# Locked by another process, or within this one. The lowest byte is the kind of error: https://www.sqlite.org/rescode.html
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
    """Return whether another session held a row for longer than `lock_timeout`."""
    return _sqlstate(error) == _LOCK_NOT_AVAILABLE


def is_conflict(error: BaseException) -> bool:
    """Return whether the transaction was rolled back for another one, as in a deadlock. A retry may succeed at once."""
    return _sqlstate(error).startswith(_CONFLICT)


def is_busy(error: BaseException) -> bool:
    """Return whether another session held what the statement needs, on either database. A retry may succeed in a moment."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0)
    return is_locked(error) or is_conflict(error) or (code & 0xFF) in _SQLITE_BUSY


def _sqlstate(error: BaseException) -> str:
    cause = error.__cause__
    # sqlstate of psycopg, pgcode of psycopg2.
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
