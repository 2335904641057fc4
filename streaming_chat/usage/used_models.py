"""Every model that has ever written a reply, and every tool that has ever been used."""

from __future__ import annotations

import time
from functools import lru_cache

from django.db import connections

from streaming_chat.models import Message, ToolCall

# A site that lets its users name a model has no end of them.
MAX_MODELS = 200
MAX_TOOLS = 200
# Lists with many queries have one less meanwhile.
_KEPT_SECONDS = 60
# One step in the index per name. SELECT DISTINCT reads all of a million replies: SQLite 90 ms.
# It repeats the condition of the partial index as Django writes it.
_STATEMENT = """SELECT name FROM (
    WITH RECURSIVE used (name) AS (
        SELECT MIN({column}) FROM {table} WHERE NOT ({known_by} = '')
        UNION ALL
        SELECT (SELECT MIN({column}) FROM {table} WHERE NOT ({known_by} = '') AND {column} > used.name)
        FROM used WHERE used.name IS NOT NULL
    )
    SELECT name FROM used WHERE name IS NOT NULL LIMIT {most}
) AS names"""


def used_models() -> list[str]:
    """Return the models, `alias:model`, in alphabetical order, as they were within the last minute. Blocking.

    Of more than MAX_MODELS, the first ones.
    """
    return list(_read(int(time.monotonic() // _KEPT_SECONDS)))


def used_tools() -> list[str]:
    """Return the names of tools that were called and have begun to run, or to wait for an answer. As `used_models`.

    Other names in calls may be inventions of a model.
    """
    return list(_read_tools(int(time.monotonic() // _KEPT_SECONDS)))


@lru_cache(maxsize=1)
def _read(period: int) -> tuple[str, ...]:
    """Return the models. period: another number reads them again."""
    return _distinct(Message, "model", "model", MAX_MODELS)


@lru_cache(maxsize=1)
def _read_tools(period: int) -> tuple[str, ...]:
    return _distinct(ToolCall, "name", "digest", MAX_TOOLS)


def _distinct(table: type[Message | ToolCall], column: str, known_by: str, most: int) -> tuple[str, ...]:
    statement = _STATEMENT.format(table=table._meta.db_table, column=column, known_by=known_by, most=most)
    with connections[table.objects.db].cursor() as cursor:
        cursor.execute(statement)
        return tuple(name for (name,) in cursor.fetchall())
