"""Rows that another session holds on PostgreSQL, as a paused worker or a view of the site's under ATOMIC_REQUESTS does."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db.models import Model
from django.test import TransactionTestCase

from .faulty_postgres import FaultyPostgres, default_database

# A request that waits for ever is let go after this, so that the test fails instead of hanging.
_HELD_SECONDS = 8.0


class HeldRowsCase(TransactionTestCase):
    """Has a PostgreSQL of its own, and can hold rows in another session."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        cls.postgres = FaultyPostgres(Path(folder))
        cls.postgres.start()
        cls.addClassCleanup(cls.postgres.stop)
        cls.enterClassContext(default_database(cls.postgres.url))
        call_command("migrate", verbosity=0)
        super().setUpClass()

    @contextlib.contextmanager
    def held(self, *rows: Model) -> Iterator[psycopg.Connection]:
        """Hold these rows, of one model, in an open transaction of the session that is returned."""
        table, column = rows[0]._meta.db_table, rows[0]._meta.pk.column
        with psycopg.connect(self.postgres.url) as session:
            lock = f"SELECT 1 FROM {table} WHERE {column} = ANY(%s) FOR UPDATE"  # noqa: S608  (names of our tables)
            session.execute(lock, [[row.pk for row in rows]]).fetchall()
            let_go = threading.Timer(_HELD_SECONDS, session.rollback)
            let_go.start()
            try:
                yield session
            finally:
                let_go.cancel()

    def waiting(self) -> int:
        """Return how many sessions wait for a lock."""
        rows = self.postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return rows[0][0]
