"""Adds what the search does not know: texts of before it was there, and those whose entry could not be saved.

In batches, paged by key, each a transaction of its own, beside running workers. What is there already is left, so that
beginning again goes on where it was broken off.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.db import IntegrityError, connections
from django.db.models import Exists, OuterRef

from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import SavedText
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, Message, SearchEntry

from . import backends, entries

# A batch of so many took 100 ms on SQLite, where nobody else writes meanwhile.
_AT_ONCE = 1_000
_TRIES = 5
_FIRST = uuid.UUID(int=0)


def clear(using: str | None = None) -> None:
    """Forget all entries, for texts that are to be made words anew. The search finds little until they are added."""
    using = using or live_database()
    write_transaction(partial(_clear, using), using=using)


def _clear(using: str) -> None:
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {backends.TABLE}")
        return
    # Without its triggers, which would take out the words of each.
    backends.drop(connection)
    SearchEntry.objects.using(using)._raw_delete(using)
    backends.create(connection)


def rebuild(using: str | None = None) -> Iterator[int]:
    """Add what is missing; yield how many entries after each batch. Blocking, outside a transaction."""
    using = using or live_database()
    _require_structure(using)
    last = _FIRST
    while ids := _messages_after(last, using):
        last = ids[-1]
        yield _add(ids, _texts_of_messages, using)
    last = _FIRST
    while ids := _conversations_after(last, using):
        last = ids[-1]
        yield _add(ids, _texts_of_titles, using)
    backends.refresh_statistics(using)
    entries.purge(using)


def _require_structure(using: str) -> None:
    """Make on SQLite what is missing; where that was all of it, no entry is in it."""
    connection = connections[using]
    if connection.vendor == "sqlite" and not backends.is_available(using):
        clear(using)


def _messages_after(last: uuid.UUID, using: str) -> list[uuid.UUID]:
    is_known = Exists(SearchEntry.objects.using(using).filter(message=OuterRef("pk")))
    messages = Message.objects.using(using).filter(~is_known, pk__gt=last).exclude(text="")
    return list(messages.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE])


def _conversations_after(last: uuid.UUID, using: str) -> list[uuid.UUID]:
    conversations = Conversation.objects.using(using).filter(pk__gt=last).exclude(title="")
    return list(conversations.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE])


def _add(ids: Sequence[uuid.UUID], texts_of: Any, using: str) -> int:
    add = partial(_add_once, ids, texts_of, using)
    for _retry in range(_TRIES - 1):
        # A worker may add one of these, or take a number, between the look and the insertion.
        with contextlib.suppress(IntegrityError):
            return write_transaction(add, using=using)
    return write_transaction(add, using=using)


def _add_once(ids: Sequence[uuid.UUID], texts_of: Any, using: str) -> int:
    # A write first, the lock of a SQLite that does not begin with one.
    SearchEntry.objects.using(using).filter(pk=-1)._raw_delete(using)
    found = texts_of(ids, using)
    entries.insert_each(found, using)
    return len(found)


def _texts_of_messages(ids: Sequence[uuid.UUID], using: str) -> list[SavedText]:
    """Return the texts as they are now, locked: one that is being redacted must not come back."""
    rows = Message.objects.using(using).filter(pk__in=ids).order_by("pk")
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update(no_key=True)
    known = set(SearchEntry.objects.using(using).filter(message__in=ids).values_list("message", flat=True))
    found = rows.values_list("conversation", "pk", "role", "text")
    return [
        SavedText(conversation, pk, role == Message.Role.ASSISTANT, text)
        for conversation, pk, role, text in found
        if text and pk not in known
    ]


def _texts_of_titles(ids: Sequence[uuid.UUID], using: str) -> list[SavedText]:
    """Return the titles that a person gave: the others are the beginning of a message."""
    rows = Conversation.objects.using(using).filter(pk__in=ids).order_by("pk")
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update(no_key=True)
    titles = dict(rows.values_list("pk", "title"))
    first = Message.objects.using(using).filter(conversation__in=ids, parent=None).values_list("conversation", "text")
    derived = {pk for pk, text in first if _is_beginning(titles.get(pk, ""), text)}
    known = set(
        SearchEntry.objects.using(using)
        .filter(conversation__in=ids, message=None)
        .values_list("conversation", flat=True)
    )
    return [SavedText(pk, None, False, title) for pk, title in titles.items() if title and pk not in derived | known]


def _is_beginning(title: str, text: str) -> bool:
    return " ".join(text[: 2 * len(title)].split()).startswith(title.removesuffix("…"))
