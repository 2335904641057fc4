"""What each database needs beside the table of search entries to find by their words, and how their words leave it.

SQLite: an FTS5 table over the entries' own column, kept by triggers, so that whatever deletes a row deletes its words.
It splits at spaces only (words.py has made the words), and has no column sizes, which are for ranking. PostgreSQL: a
GIN index. A migration that alters the table on SQLite makes it anew, without its triggers: call `create` after it.

FTS5 marks a deleted text's words as deleted, beside which they stay until their b-trees are merged. So deletions leave a
note, and `purge` merges everything: of 1,000,000 messages in 25 s, 27 ms at a time. A newer SQLite can take out a few
texts' words at once, in 7 ms each; the table is then in a format that one older than 3.42 cannot read
(`manage.py rebuildsearch --again`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from django.db import OperationalError, connections

TABLE = "streaming_chat_searchentry"
WORDS = "streaming_chat_searchwords"
# Has a row while words of deleted entries are in the file: how many were deleted.
_NOTE = "streaming_chat_searchpurge"
GIN = "streaming_chat_search_words"
# One step's share: of 1,000 pages it took 170 ms beside other work, for which others wait to write.
_PAGES = 250
# Who waits for SQLite's lock looks for it now and then, and would find it taken at each step.
_PAUSE_SECONDS = 0.02
# It can since 3.42; the following versions mended it: https://www.sqlite.org/changes.html
_ERASES = sqlite3.sqlite_version_info >= (3, 45)

_DELETE = f"INSERT INTO {WORDS} ({WORDS}, rowid, words) VALUES ('delete', old.id, old.words)"
_NOTED = f"INSERT INTO {_NOTE} (id, deletions) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET deletions = deletions + 1"
_INSERT = f"INSERT INTO {WORDS} (rowid, words) VALUES (new.id, new.words)"
_TRIGGERS = {
    f"{WORDS}_insert": f"AFTER INSERT ON {TABLE} BEGIN {_INSERT}; END",
    f"{WORDS}_delete": f"AFTER DELETE ON {TABLE} BEGIN {_DELETE}; {_NOTED}; END",
    f"{WORDS}_update": f"AFTER UPDATE ON {TABLE} BEGIN {_DELETE}; {_INSERT}; {_NOTED}; END",
}


def create(connection: Any) -> bool:
    """Create the index that searches use, where it is missing; False if SQLite has no FTS5."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Without fastupdate: each search would read its list of pending words whole, and the reply that fills it up
            # would write up to 4 MB in one go.
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {GIN} ON {TABLE} USING gin (words) WITH (fastupdate = off)")
        elif connection.vendor == "sqlite":
            return _create_fts5(cursor)
    return True


def _create_fts5(cursor: Any) -> bool:
    try:
        cursor.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {WORDS} USING fts5("
            f"words, content='{TABLE}', content_rowid='id', tokenize='ascii', columnsize=0, prefix='2 3')"
        )
    except OperationalError:
        return False
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {_NOTE} (id integer PRIMARY KEY, deletions integer NOT NULL)")
    for name, body in _TRIGGERS.items():
        cursor.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {body}")
    return True


def drop(connection: Any) -> None:
    """Remove the index. The entries stay."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP INDEX IF EXISTS {GIN}")
        elif connection.vendor == "sqlite":
            for name in _TRIGGERS:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
            cursor.execute(f"DROP TABLE IF EXISTS {WORDS}")
            cursor.execute(f"DROP TABLE IF EXISTS {_NOTE}")


def is_available(using: str) -> bool:
    """Return whether texts can be found: not in a SQLite without FTS5."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return connection.vendor == "postgresql"
    # By the driver: it is no query of the page's, takes 5 µs, and may fail inside a transaction.
    connection.ensure_connection()
    try:
        connection.connection.execute(f"SELECT rowid FROM {WORDS} LIMIT 0").close()
    except sqlite3.Error:
        return False
    return True


def overwrite_deleted(using: str) -> None:
    """Let SQLite write zeros over what is deleted on this connection, whatever the site has set."""
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            _rows(cursor, "PRAGMA secure_delete = ON")


@contextlib.contextmanager
def erasing(using: str) -> Iterator[None]:
    """Let the words of what is deleted inside leave the file with it, where SQLite can. Slow for many."""
    if not (_ERASES and connections[using].vendor == "sqlite" and is_available(using)):
        yield
        return
    with connections[using].cursor() as cursor:
        before = _note(cursor)
        cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('secure-delete', 1)")
        yield
        cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('secure-delete', 0)")
        if before is None:
            cursor.execute(f"DELETE FROM {_NOTE}")


def purge(using: str) -> None:
    """Merge FTS5's b-trees into one, in steps, if anything was deleted since the last time. Outside a transaction."""
    connection = connections[using]
    if connection.vendor != "sqlite" or not is_available(using):
        return
    overwrite_deleted(using)
    with connection.cursor() as cursor:
        if (deletions := _note(cursor)) is not None:
            # Negative: all b-trees take part, however few; positive: go on with that.
            pages = -_PAGES
            while _merge(cursor, pages):
                pages = _PAGES
                time.sleep(_PAUSE_SECONDS)
            # What was deleted meanwhile is left to the next; so is everything, where this one breaks off.
            cursor.execute(f"DELETE FROM {_NOTE} WHERE deletions = %s", [deletions])
        if not connection.in_atomic_block:
            # The journal holds the pages as they were.
            _rows(cursor, "PRAGMA wal_checkpoint(TRUNCATE)")


def _note(cursor: Any) -> int | None:
    """Return how many entries were deleted since the last purge, None for none."""
    found = _rows(cursor, f"SELECT deletions FROM {_NOTE}")
    return found[0][0] if found else None


def _rows(cursor: Any, statement: str) -> list[Any]:
    """Return all rows: while one is left, the statement is open, and keeps the journal from being written to the file."""
    cursor.execute(statement)
    return cursor.fetchall()


def _merge(cursor: Any, pages: int) -> bool:
    """Return whether it did anything: https://www.sqlite.org/fts5.html#the_merge_command."""
    before = _rows(cursor, "SELECT total_changes()")[0][0]
    cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('merge', %s)", [pages])
    after = _rows(cursor, "SELECT total_changes()")[0][0]
    return after - before >= 2


def refresh_statistics(using: str) -> None:
    """Let PostgreSQL know how common words are, by which it chooses between its index and the newest rows."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {TABLE}")
