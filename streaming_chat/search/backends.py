"""The database structures behind the search index, and how words are removed from them for good.

SQLite: an FTS5 table over the column of the entries, kept by triggers, so any deletion of a row deletes its words. It splits
at spaces only, since tokenizer.py has made the words, and has no column sizes, which are for ranking. PostgreSQL: a GIN
index. A migration that alters the table on SQLite recreates it without its triggers: call `create` after it.

FTS5 only marks the words of a deleted text; they stay in the file until its b-trees are merged. Deletions are therefore
counted in a table, and `purge` merges everything: 1,000,000 messages in 25 s, 27 ms at a time. A newer SQLite can remove a
few texts' words at once, in 7 ms each; a SQLite older than 3.42 cannot read the table afterwards
(`manage.py rebuildsearch --again`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from django.db import connections

TABLE = "streaming_chat_searchentry"
WORDS = "streaming_chat_searchwords"
# Has a row while words of deleted entries are in the file: how many entries were deleted.
_PURGE_TABLE = "streaming_chat_searchpurge"
GIN = "streaming_chat_search_words"
# Pages per step. A step of 1,000 took 170 ms under load, and others cannot write meanwhile.
_PAGES = 250
# Writers that wait for SQLite's lock poll for it; without a pause they would find it taken at each step.
_PAUSE_SECONDS = 0.02
# Since 3.42, with fixes in the versions after it: https://www.sqlite.org/changes.html
_HAS_SECURE_DELETE = sqlite3.sqlite_version_info >= (3, 45)

_DELETE = f"INSERT INTO {WORDS} ({WORDS}, rowid, words) VALUES ('delete', old.id, old.words)"
_COUNT = (
    f"INSERT INTO {_PURGE_TABLE} (id, deletions) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET deletions = deletions + 1"
)
_INSERT = f"INSERT INTO {WORDS} (rowid, words) VALUES (new.id, new.words)"
_TRIGGERS = {
    f"{WORDS}_insert": f"AFTER INSERT ON {TABLE} BEGIN {_INSERT}; END",
    f"{WORDS}_delete": f"AFTER DELETE ON {TABLE} BEGIN {_DELETE}; {_COUNT}; END",
    f"{WORDS}_update": f"AFTER UPDATE ON {TABLE} BEGIN {_DELETE}; {_INSERT}; {_COUNT}; END",
}


def create(connection: Any) -> None:
    """Create the index if it is missing."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Without fastupdate: each search would read the whole pending list, and the reply that fills it would write
            # up to 4 MB at once.
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {GIN} ON {TABLE} USING gin (words) WITH (fastupdate = off)")
        elif connection.vendor == "sqlite":
            _create_fts5(cursor)


def _create_fts5(cursor: Any) -> None:
    cursor.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {WORDS} USING fts5("
        f"words, content='{TABLE}', content_rowid='id', tokenize='ascii', columnsize=0, prefix='2 3')"
    )
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {_PURGE_TABLE} (id integer PRIMARY KEY, deletions integer NOT NULL)")
    for name, body in _TRIGGERS.items():
        cursor.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {body}")


def drop(connection: Any) -> None:
    """Drop the index. The entries stay."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP INDEX IF EXISTS {GIN}")
        elif connection.vendor == "sqlite":
            for name in _TRIGGERS:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
            cursor.execute(f"DROP TABLE IF EXISTS {WORDS}")
            cursor.execute(f"DROP TABLE IF EXISTS {_PURGE_TABLE}")


def overwrite_deleted(using: str) -> None:
    """Make SQLite overwrite what this connection deletes with zeros, whatever the site has configured."""
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            _rows(cursor, "PRAGMA secure_delete = ON")


@contextlib.contextmanager
def secure_delete(using: str) -> Iterator[None]:
    """Remove the words of entries that are deleted in the block from the file at once, if SQLite can. Slow for many."""
    if not (_HAS_SECURE_DELETE and connections[using].vendor == "sqlite"):
        yield
        return
    with connections[using].cursor() as cursor:
        deletions = _deletions(cursor)
        cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('secure-delete', 1)")
        yield
        cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('secure-delete', 0)")
        if deletions is None:
            cursor.execute(f"DELETE FROM {_PURGE_TABLE}")


def purge(using: str) -> None:
    """Merge FTS5's b-trees into one, in steps, if anything was deleted since the last purge. Outside a transaction."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    overwrite_deleted(using)
    with connection.cursor() as cursor:
        if (deletions := _deletions(cursor)) is not None:
            # Negative: begin to merge all b-trees, however few. Positive: continue.
            pages = -_PAGES
            while _merge(cursor, pages):
                pages = _PAGES
                time.sleep(_PAUSE_SECONDS)
            # If more was deleted meanwhile, or this is interrupted, the next purge does the rest.
            cursor.execute(f"DELETE FROM {_PURGE_TABLE} WHERE deletions = %s", [deletions])
        if not connection.in_atomic_block:
            # The write-ahead log holds the pages as they were.
            _rows(cursor, "PRAGMA wal_checkpoint(TRUNCATE)")


def _deletions(cursor: Any) -> int | None:
    """Return how many entries were deleted since the last purge; None for none."""
    rows = _rows(cursor, f"SELECT deletions FROM {_PURGE_TABLE}")
    return rows[0][0] if rows else None


def _rows(cursor: Any, statement: str) -> list[Any]:
    """Return all rows. An unread row keeps the statement open, and SQLite cannot checkpoint its write-ahead log then."""
    cursor.execute(statement)
    return cursor.fetchall()


def _merge(cursor: Any, pages: int) -> bool:
    """Merge some pages, and return whether that did anything: https://www.sqlite.org/fts5.html#the_merge_command."""
    before = _rows(cursor, "SELECT total_changes()")[0][0]
    cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('merge', %s)", [pages])
    after = _rows(cursor, "SELECT total_changes()")[0][0]
    return after - before >= 2


def refresh_statistics(using: str) -> None:
    """Update how common words are for PostgreSQL, which chooses between its index and the newest rows by that."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {TABLE}")
