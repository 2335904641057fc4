"""A database that is away, told from a value that it refuses."""

import sqlite3

import django.db
import psycopg.errors
from django.db import DatabaseError
from django.test import SimpleTestCase

from streaming_chat.db.errors import is_away, is_busy, is_conflict, is_locked


def raised(state: str) -> DatabaseError:
    """Return Django's error for PostgreSQL's of this SQLSTATE; "" for one that says none."""
    cause = psycopg.errors.lookup(state)() if state else psycopg.OperationalError()
    for name in ("OperationalError", "InternalError", "DataError", "IntegrityError", "ProgrammingError"):
        if isinstance(cause, getattr(psycopg, name)):
            error = getattr(django.db, name)()
    error.__cause__ = cause
    return error


class OutageTests(SimpleTestCase):
    def test_it_is_waited_for(self):
        """No answer; deadlock; full disk; lock; ended session; read-only; a transaction that stood still."""
        for state in ("", "08006", "40P01", "53100", "53300", "55P03", "57P01", "57P03", "25006", "25P03"):
            with self.subTest(state):
                assert is_away(raised(state))
        assert is_away(django.db.InterfaceError())
        # SQLite has no states.
        assert is_away(django.db.OperationalError("database is locked"))

    def test_a_value_that_is_refused_is_none(self):
        """Out of range; not unique; too big for an index row or a program; no such column; no JSON."""
        for state in ("22003", "23505", "54000", "42703", "22P02"):
            with self.subTest(state):
                assert not is_away(raised(state))
        assert not is_away(ValueError())

    def test_locks_and_conflicts(self):
        assert is_locked(raised("55P03"))
        assert not is_locked(raised("57P01"))
        assert is_conflict(raised("40P01"))
        assert is_conflict(raised("40001"))
        assert not is_conflict(raised("55P03"))

    def test_who_is_in_the_way_is_gone_in_a_moment(self):
        for state in ("55P03", "40P01", "40001"):
            assert is_busy(raised(state))
        for state in ("", "57P01", "53100", "08006"):
            assert not is_busy(raised(state))

    def test_sqlite_says_so_in_the_lowest_byte_of_a_code(self):
        """517 is SQLITE_BUSY_SNAPSHOT, 13 SQLITE_FULL."""
        for code, wanted in {5: True, 6: True, 517: True, 262: True, 13: False, 10: False, 1: False}.items():
            error = django.db.OperationalError()
            error.__cause__ = sqlite3.OperationalError()
            error.__cause__.sqlite_errorcode = code
            with self.subTest(code):
                assert is_busy(error) == wanted
