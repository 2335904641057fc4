"""Adds missing texts to the search index: those from before the index existed, and those whose entry could not be saved.

In pages by primary key, each a transaction of its own, while workers are running. Existing entries stay, so a second run
continues an interrupted one.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.db import IntegrityError, connections
from django.db.models import Exists, OuterRef

from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import SavedText
from streaming_chat.db.paging import key_pages
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, Message, SearchEntry

from . import backends, entries

# This many took 100 ms on SQLite, during which nobody else can write.
_PAGE_SIZE = 1_000
_TRIES = 5

Ids = Sequence[uuid.UUID]


def clear(using: str | None = None) -> None:
    """Delete all entries. The search finds little until `rebuild` is done."""
    using = using or live_database()
    write_transaction(partial(_clear, using), using=using)


def _clear(using: str) -> None:
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {backends.TABLE}")
        return
    # Without its triggers, which would remove the words of each entry.
    backends.drop(connection)
    SearchEntry.objects.using(using)._raw_delete(using)
    backends.create(connection)


def rebuild(using: str | None = None) -> Iterator[int]:
    """Add what is missing; yield how many entries after each page. Blocking, outside a transaction."""
    using = using or live_database()
    if connections[using].vendor == "sqlite" and not backends.is_available(using):
        # The index's own tables are missing: create them, and index everything.
        clear(using)
    has_entry = Exists(SearchEntry.objects.using(using).filter(message=OuterRef("pk")))
    for ids in key_pages(Message.objects.using(using).filter(~has_entry).exclude(text=""), _PAGE_SIZE):
        yield _add(ids, _missing_messages, using)
    for ids in key_pages(Conversation.objects.using(using).exclude(title=""), _PAGE_SIZE):
        yield _add(ids, _missing_titles, using)
    backends.refresh_statistics(using)
    entries.purge(using)


def _add(ids: Ids, texts_of: Callable[[Ids, str], list[SavedText]], using: str) -> int:
    add = partial(_add_once, ids, texts_of, using)
    for _retry in range(_TRIES - 1):
        # A worker may add one of these entries, or take a number, between the query and the insertion.
        with contextlib.suppress(IntegrityError):
            return write_transaction(add, using=using)
    return write_transaction(add, using=using)


def _add_once(ids: Ids, texts_of: Callable[[Ids, str], list[SavedText]], using: str) -> int:
    # A write comes first, to lock a SQLite whose transactions do not begin with a lock.
    SearchEntry.objects.using(using).filter(pk=-1)._raw_delete(using)
    texts = texts_of(ids, using)
    entries.insert_all(texts, using)
    return len(texts)


def _missing_messages(ids: Ids, using: str) -> list[SavedText]:
    """Return the messages without an entry, locked: a text that is being redacted must not come back."""
    rows = _locked(Message.objects.using(using).filter(pk__in=ids).order_by("pk"), using)
    indexed = set(SearchEntry.objects.using(using).filter(message__in=ids).values_list("message", flat=True))
    return [
        SavedText(conversation, pk, role == Message.Role.ASSISTANT, text)
        for conversation, pk, role, text in rows.values_list("conversation", "pk", "role", "text")
        if text and pk not in indexed
    ]


def _missing_titles(ids: Ids, using: str) -> list[SavedText]:
    """Return the titles without an entry that a person gave. Others are the beginning of a message."""
    rows = _locked(Conversation.objects.using(using).filter(pk__in=ids).order_by("pk"), using)
    titles = dict(rows.values_list("pk", "title"))
    first = Message.objects.using(using).filter(conversation__in=ids, parent=None).values_list("conversation", "text")
    derived = {pk for pk, text in first if _is_beginning(titles.get(pk, ""), text)}
    title_entries = SearchEntry.objects.using(using).filter(conversation__in=ids, message=None)
    indexed = set(title_entries.values_list("conversation", flat=True))
    return [SavedText(pk, None, False, title) for pk, title in titles.items() if title and pk not in derived | indexed]


def _locked(rows: Any, using: str) -> Any:
    return rows.select_for_update(no_key=True) if connections[using].features.has_select_for_update else rows


def _is_beginning(title: str, text: str) -> bool:
    return " ".join(text[: 2 * len(title)].split()).startswith(title.removesuffix("…"))
