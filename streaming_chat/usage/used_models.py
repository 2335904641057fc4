"""Every model that has ever written a reply."""

from __future__ import annotations

import time
from functools import lru_cache

from django.db import connections

from streaming_chat.models import Message

# A site that lets its users name a model has no end of them.
MAX_MODELS = 200
# Lists with many queries have one less meanwhile.
_KEPT_SECONDS = 60
# One step in the index per model. SELECT DISTINCT reads all of a million replies: SQLite 90 ms.
# It repeats the condition of the partial index as Django writes it.
_STATEMENT = """SELECT model FROM (
    WITH RECURSIVE used (model) AS (
        SELECT MIN(model) FROM {table} WHERE NOT (model = '')
        UNION ALL
        SELECT (SELECT MIN(model) FROM {table} WHERE NOT (model = '') AND model > used.model)
        FROM used WHERE used.model IS NOT NULL
    )
    SELECT model FROM used WHERE model IS NOT NULL LIMIT {most}
) AS names"""


def used_models() -> list[str]:
    """Return the models, `alias:model`, in alphabetical order, as they were within the last minute. Blocking.

    Of more than MAX_MODELS, the first ones.
    """
    return list(_read(int(time.monotonic() // _KEPT_SECONDS)))


@lru_cache(maxsize=1)
def _read(period: int) -> tuple[str, ...]:
    """Return the models. period: another number reads them again."""
    statement = _STATEMENT.format(table=Message._meta.db_table, most=MAX_MODELS)
    with connections[Message.objects.db].cursor() as cursor:
        cursor.execute(statement)
        return tuple(model for (model,) in cursor.fetchall())
