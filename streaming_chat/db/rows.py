"""Rows of models that are made without `Model.__init__`, which takes 25 µs for the 40 columns of a message.

Such a row has the columns that it was given; the others are deferred: read from the database when they are first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init

Row = TypeVar("Row", bound=Model)


def new_row(model: type[Row], /, **columns: Any) -> Row:
    """Return a row that is to be inserted by `statements.insert`. columns: by their attribute names, `conversation_id`."""
    for name, default in _drawn_defaults(model):
        if name not in columns:
            columns[name] = default()
    row = (_made_by_django if _is_listened_to(model) else _made)(model, None, columns)
    row._state.adding = True
    return row


def stored_rows(model: type[Row], using: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Return rows that were read from a database, as `from_db` does. names: of their columns."""
    make = _made_by_django if _is_listened_to(model) else _made
    return [make(model, using, dict(zip(names, row, strict=True))) for row in rows]


def _made(model: type[Row], using: str | None, columns: Mapping[str, Any]) -> Row:
    row = model.__new__(model)
    row._state = state = ModelState()
    state.adding, state.db = False, using
    row.__dict__.update(columns)
    return row


def _made_by_django(model: type[Row], using: str | None, columns: Mapping[str, Any]) -> Row:
    names = [field.attname for field in model._meta.concrete_fields if field.attname in columns]
    return model.from_db(using, names, [columns[name] for name in names])


def with_defaults(row: Row) -> Row:
    """Return a new row as `Model.__init__` makes it: with the defaults of the columns that it was not given."""
    return type(row)(**{name: value for name, value in vars(row).items() if name != "_state"})


def _is_listened_to(model: type[Model]) -> bool:
    # To ask a signal that has no receiver would take a third of the time.
    return any(signal.receivers and signal.has_listeners(model) for signal in (pre_init, post_init))


@lru_cache
def _drawn_defaults(model: type[Model]) -> list[tuple[str, Callable[[], Any]]]:
    """Return the columns whose default differs between rows, with the functions that return it."""
    fields = [field for field in model._meta.concrete_fields if field.has_default() and callable(field.default)]
    return [(field.attname, field.default) for field in fields if field.default not in (list, dict)]
