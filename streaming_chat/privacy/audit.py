"""Access records: which member of staff read or changed what, saved before any text is sent.

Keep a record for as long as the site must be able to say who read a conversation. Its search terms are text, so they can be
removed sooner.
"""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db import router
from django.db.models import QuerySet
from django.db.models.functions import Now

from streaming_chat.db.paging import key_pages
from streaming_chat.models import AccessRecord
from streaming_chat.search import backends

from . import accessed_owners, copies

# In a statement of its own: on SQLite, staff who read wait some milliseconds for it, to save their own record.
_PAGE_SIZE = 500


def record(
    kind: str,
    by: Any,
    *,
    conversation: uuid.UUID | None = None,
    message: uuid.UUID | None = None,
    owner_key: str | None = None,
    owner_keys: Iterable[str] = (),
    terms: str = "",
    count: int | None = None,
    reason: str = "",
) -> AccessRecord:
    """Save an access record in the database for writes. It is committed unless the caller has opened a transaction.

    kind: of AccessRecord.Kind. by: the user, or for a command `account_name()`. owner_key: by default, that of the
    conversation. owner_keys: those of the texts that are shown, if there may be several owners.
    Raises DatabaseError if it cannot be saved; the caller must show nothing then.
    """
    if owner_key is None:
        owner_key = accessed_owners.owner_key_of(conversation) if conversation else ""
    named = {"by_name": by} if isinstance(by, str) else {"by": by, "by_name": str(by.get_username())[:255]}
    saved = _records().create(
        kind=kind,
        conversation=conversation,
        message=message,
        owner_key=owner_key,
        terms=terms,
        count=count,
        reason=reason,
        **named,
    )
    accessed_owners.add(saved, owner_keys)
    return saved


def account_name() -> str:
    """Return the name of the operating system's account that this process runs under."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container, the user may have no entry in /etc/passwd.
        return f"uid {os.getuid()}"


def records(age: timedelta) -> QuerySet[AccessRecord]:
    """Return the access records that are at least this old."""
    return _records().filter(at__lt=Now() - age)


def records_with_terms(age: timedelta) -> QuerySet[AccessRecord]:
    """Return the records whose search terms have not been removed."""
    return records(age).exclude(terms="")


def remove(rows: QuerySet[AccessRecord]) -> Iterator[int]:
    """Remove access records, and yield how many after each page. After an interruption, call it again. Blocking."""
    # Their owners are deleted with them, and not counted.
    yield from _for_each_page(rows, lambda page: page.delete()[1].get(AccessRecord._meta.label, 0))


def clear_terms(rows: QuerySet[AccessRecord]) -> Iterator[int]:
    """Clear the search terms of access records, and keep who searched and when. As `remove`."""
    yield from _for_each_page(rows, lambda page: page.update(terms=""))


def _for_each_page(rows: QuerySet[AccessRecord], write: Callable[[Any], int]) -> Iterator[int]:
    using = _records().db
    # Search terms are text: SQLite must overwrite them in its file.
    backends.overwrite_deleted(using)
    for keys in key_pages(rows, _PAGE_SIZE):
        yield write(_records().filter(pk__in=keys))
    copies.empty_log(using)


def _records() -> QuerySet[AccessRecord]:
    return AccessRecord._default_manager.using(router.db_for_write(AccessRecord))
