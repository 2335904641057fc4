"""How long it is kept who of the staff read what, and for how long what they sought.

A record is needed for as long as somebody may ask who read a conversation; the terms of a search are text, and may go
sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.db import router
from django.db.models import QuerySet
from django.db.models.functions import Now

from streaming_chat.models import AccessRecord
from streaming_chat.search import backends

from . import copies

# A statement of its own each: on SQLite who reads meanwhile waits for one of them to leave a record, some milliseconds.
_AT_ONCE = 500


def records(age: timedelta) -> QuerySet[AccessRecord]:
    """Return the records that were made so long ago."""
    return AccessRecord._default_manager.using(_database()).filter(at__lt=Now() - age)


def records_with_terms(age: timedelta) -> QuerySet[AccessRecord]:
    """Return those of them that still say what was sought."""
    return records(age).exclude(terms="")


def remove(chosen: QuerySet[AccessRecord]) -> Iterator[int]:
    """Remove these records, and yield how many after each statement. Broken off, it goes on when called again. Blocking."""
    yield from _by_key(chosen, lambda some: some.delete()[0])


def forget_terms(chosen: QuerySet[AccessRecord]) -> Iterator[int]:
    """Take away what was sought, and leave who sought, and when. As `remove`."""
    yield from _by_key(chosen, lambda some: some.update(terms=""))


def _by_key(chosen: QuerySet[AccessRecord], do: Callable[[Any], int]) -> Iterator[int]:
    using = _database()
    # What was sought is text: on SQLite it is to leave the file, too.
    backends.overwrite_deleted(using)
    last = 0
    while ids := list(chosen.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):
        last = ids[-1]
        yield do(AccessRecord._default_manager.using(using).filter(pk__in=ids))
    copies.empty_log(using)


def _database() -> str:
    return router.db_for_write(AccessRecord)
