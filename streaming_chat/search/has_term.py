"""Whether a column of words has a term, without an index: for queries that read few rows."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Func

from .query import phrase
from .tokenizer import Term


class HasTerm(Func):
    """Whether the words of a row have a term."""

    output_field = BooleanField()

    def __init__(self, *expressions: Any, term: Term) -> None:
        super().__init__(*expressions)
        self._term = term

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL of PostgreSQL."""
        column, params = compiler.compile(self.source_expressions[0])
        return f"({column} @@ %s::tsquery)", (*params, phrase(self._term))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL of SQLite, where the words have spaces between them."""
        column, params = compiler.compile(self.source_expressions[0])
        words = " ".join(self._term.words)
        sought = f" {words}" if self._term.is_prefix else f" {words} "
        return f"(instr(' ' || {column} || ' ', %s) > 0)", (*params, sought)
