"""The text of one key of a JSON column, as both an index and the queries that use it write it."""

from __future__ import annotations

from typing import Any

from django.db.models import Func, TextField

MAX_CHARS = 200


class JSONText(Func):
    """The first MAX_CHARS characters of a key's value; NULL for an object without the key. key: ASCII letters.

    The key is part of the statement, since SQLite uses an index only for an expression without parameters. The text is cut,
    since PostgreSQL refuses to save a value that is longer than an index can hold (2,704 bytes).
    """

    arity = 1
    output_field = TextField()
    template = f"SUBSTR(JSON_EXTRACT(%(expressions)s, '$.%(key)s'), 1, {MAX_CHARS})"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Use PostgreSQL's operator."""
        template = f"LEFT(%(expressions)s ->> '%(key)s', {MAX_CHARS})"
        return self.as_sql(compiler, connection, template=template, **context)
