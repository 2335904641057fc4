"""What is executed: for tests that a compiled statement is the ORM's own.

assert executed_by(lock.execute, "default", pk=pk) == executed_by(Conversation.objects.filter(pk=pk).update, title="")
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def executed() -> Iterator[list[tuple[str, list[str]]]]:
    """Note the SQL and the parameters of the statements in the block.

    Without what makes no difference: Django's parentheses around an expression, and values that nobody reads back.
    """
    noted: list[tuple[str, list[str]]] = []

    def note(execute: Callable[..., Any], sql: str, parameters: Any, *rest: Any) -> Any:
        without = sql.partition(" RETURNING")[0].replace("(%s)", "%s")
        noted.append((without, [repr(parameter) for parameter in parameters or ()]))
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(note):
        yield noted


def executed_by(operation: Callable[..., Any], *args: Any, **kwargs: Any) -> list[tuple[str, list[str]]]:
    """Return the SQL and the parameters of an operation's statements, without savepoints."""
    with executed() as noted:
        operation(*args, **kwargs)
    return [(sql, parameters) for sql, parameters in noted if "SAVEPOINT" not in sql]
