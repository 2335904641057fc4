"""What each database needs beside the table of search entries to find by their words, and how their words leave it.

SQLite: an FTS5 table over the entries' own column, kept by triggers, so that whatever deletes a row deletes its words.
It splits at spaces only (words.py has made the words), and has no column sizes, which are for ranking. PostgreSQL: a
GIN index. A migration that alters the table on SQLite makes it anew, without its triggers: call `create` after it.

FTS5 marks a deleted text's words as deleted, beside which they stay until their b-trees are merged; only from 3.42 it can
do otherwise, in a format that older versions cannot read. So deletions leave a note, and `purge` merges everything.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from django.db import DatabaseError, OperationalError, connections

TABLE = "streaming_chat_searchentry"
WORDS = "streaming_chat_searchwords"
# Holds a row when entries were deleted since the last purge.
_NOTE = "streaming_chat_searchpurge"
GIN = "streaming_chat_search_words"
# One step's share: 1,000 pages are 4 MB, which took 40 ms, and is how long others wait to write.
_PAGES = 1_000

_DELETE = f"INSERT INTO {WORDS} ({WORDS}, rowid, words) VALUES ('delete', old.id, old.words)"
_NOTED = f"INSERT OR IGNORE INTO {_NOTE} (id) VALUES (1)"
_INSERT = f"INSERT INTO {WORDS} (rowid, words) VALUES (new.id, new.words)"
_TRIGGERS = {
    f"{WORDS}_insert": f"AFTER INSERT ON {TABLE} BEGIN {_INSERT}; END",
    f"{WORDS}_delete": f"AFTER DELETE ON {TABLE} BEGIN {_DELETE}; {_NOTED}; END",
    f"{WORDS}_update": f"AFTER UPDATE ON {TABLE} BEGIN {_DELETE}; {_INSERT}; {_NOTED}; END",
}


def create(connection: Any) -> bool:
    """Make what is missing, except PostgreSQL's index, which is made without blocking; False when SQLite has no FTS5."""
    if connection.vendor != "sqlite":
        return True
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                f"CREATE VIRTUAL TABLE IF NOT EXISTS {WORDS} USING fts5("
                f"words, content='{TABLE}', content_rowid='id', tokenize='ascii', columnsize=0, prefix='3')"
            )
        except OperationalError:
            return False
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {_NOTE} (id integer PRIMARY KEY)")
        for name, body in _TRIGGERS.items():
            cursor.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {body}")
    return True


def drop(connection: Any) -> None:
    """Remove it from SQLite. The entries stay."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        for name in _TRIGGERS:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        cursor.execute(f"DROP TABLE IF EXISTS {WORDS}")
        cursor.execute(f"DROP TABLE IF EXISTS {_NOTE}")


def create_gin(connection: Any) -> None:
    """Make PostgreSQL's index, beside whoever writes. Outside a transaction. One that was broken off is made again."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [GIN])
        if (found := cursor.fetchone()) and not found[0]:
            cursor.execute(f"DROP INDEX CONCURRENTLY {GIN}")
        # Without fastupdate: its list of pending words is read whole by each search, and written out in one go of up to
        # 4 MB by whichever reply ends next.
        cursor.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {GIN} ON {TABLE} USING gin (words) WITH (fastupdate = off)"
        )


def drop_gin(connection: Any) -> None:
    """Remove it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {GIN}")


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
            cursor.execute("PRAGMA secure_delete = ON")


def purge(using: str) -> None:
    """Merge FTS5's b-trees into one, in steps, if anything was deleted since the last time. Outside a transaction."""
    connection = connections[using]
    if connection.vendor != "sqlite" or not is_available(using):
        return
    overwrite_deleted(using)
    with connection.cursor() as cursor:
        # Taken before: what is deleted meanwhile leaves a note again.
        cursor.execute(f"DELETE FROM {_NOTE}")
        if not cursor.rowcount:
            return
        try:
            # Negative: all b-trees take part, however few; positive: go on with that.
            pages = -_PAGES
            while _merge(cursor, pages):
                pages = _PAGES
        except DatabaseError:
            cursor.execute(_NOTED)
            raise
        if not connection.in_atomic_block:
            # The journal holds the pages as they were.
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _merge(cursor: Any, pages: int) -> bool:
    """Return whether it did anything: https://www.sqlite.org/fts5.html#the_merge_command."""
    before = cursor.execute("SELECT total_changes()").fetchone()[0]
    cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('merge', %s)", [pages])
    after = cursor.execute("SELECT total_changes()").fetchone()[0]
    return after - before >= 2


def refresh_statistics(using: str) -> None:
    """Let PostgreSQL know how common words are, by which it chooses between its index and the newest rows."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {TABLE}")
