"""How long access records are kept, and how long their search terms.

A record is needed for as long as somebody may ask who read a conversation. Search terms are text, and may be removed sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.db import router
from django.db.models import QuerySet
from django.db.models.functions import Now

from streaming_chat.db.paging import key_pages
from streaming_chat.models import AccessRecord
from streaming_chat.search import backends

from . import copies

# In a statement of its own: on SQLite, staff who read wait some milliseconds for it, to save their own record.
_PAGE_SIZE = 500


def records(age: timedelta) -> QuerySet[AccessRecord]:
    """Return the access records that are at least this old."""
    return AccessRecord._default_manager.using(_database()).filter(at__lt=Now() - age)


def records_with_terms(age: timedelta) -> QuerySet[AccessRecord]:
    """Return those that still have search terms."""
    return records(age).exclude(terms="")


def remove(rows: QuerySet[AccessRecord]) -> Iterator[int]:
    """Remove access records, and yield how many after each statement. After an interruption, call it again. Blocking."""
    yield from _for_each_page(rows, lambda page: page.delete()[0])


def clear_terms(rows: QuerySet[AccessRecord]) -> Iterator[int]:
    """Clear the search terms of access records, and keep who searched and when. As `remove`."""
    yield from _for_each_page(rows, lambda page: page.update(terms=""))


def _for_each_page(rows: QuerySet[AccessRecord], write: Callable[[Any], int]) -> Iterator[int]:
    using = _database()
    # Search terms are text: SQLite must overwrite them in its file.
    backends.overwrite_deleted(using)
    for keys in key_pages(rows, _PAGE_SIZE):
        yield write(AccessRecord._default_manager.using(using).filter(pk__in=keys))
    copies.empty_log(using)


def _database() -> str:
    return router.db_for_write(AccessRecord)
