"""The search index: an entry with the words of each message, and of each title that a person gave.

Entries are written and deleted in the same transactions as their texts. backends.py has what each database needs to search
them; tokenizer.py turns a text into words, for both databases alike.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import Exists, OuterRef, Q

from streaming_chat.db.hooks import SavedText
from streaming_chat.db.paging import key_pages
from streaming_chat.db.rows import new_row
from streaming_chat.db.statements import MOST_ROWS, insert
from streaming_chat.db.transactions import one_statement, savepoint, write_transaction
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, Message, SearchEntry

from . import backends
from .tokenizer import words

# The lowest two bits of an entry's number are its kind: a title, a user's message, or a reply.
_TITLE, _MESSAGE, _REPLY = range(3)
_KINDS = 4
# Above them are 18 bits of the text's id, and then its millisecond. With fewer bits, transactions would often want the same
# number and wait for each other, or deadlock.
_ID_BITS = 18
_MILLISECOND = _KINDS << _ID_BITS
# Numbers that one query checks.
_RANGE = 1_000
# This many took a rebuild 100 ms on SQLite, during which nobody else can write.
_PAGE_SIZE = 1_000
_TRIES = 5


def number_of(text: SavedText) -> int:
    """Return the number of a text's entry, if that is free."""
    kind = _TITLE if text.message is None else _REPLY if text.is_reply else _MESSAGE
    pk = text.message or text.conversation
    return first_number_at(_milliseconds(pk)) + _low_bits(pk) * _KINDS + kind


def first_number_at(milliseconds: int) -> int:
    """Return the lowest number of entries whose texts were created then; in milliseconds since 1970."""
    return milliseconds * _MILLISECOND


def add(texts: Iterable[SavedText], using: str) -> None:
    """Add new texts to the index, in the transaction that writes them. A failure is logged, and the texts are saved."""
    texts = [text for text in texts if text.text]
    try:
        _insert(texts, using)
    except Exception as error:  # noqa: BLE001  (whatever it is, the texts are saved)
        if len(texts) < 2 or connections[using].needs_rollback:
            _log(error, using)
            return
        # One that is refused keeps no other out of the index.
        for text in texts:
            add([text], using)


def replace_title(conversation: uuid.UUID, title: str, using: str) -> None:
    """Index the title that a person gave a conversation in place of an earlier one. Failures as in `add`."""
    try:
        with savepoint(using):
            SearchEntry.objects.using(using).filter(conversation=conversation, message=None).delete()
            _insert([SavedText(conversation, None, False, title)], using)
    except Exception as error:  # noqa: BLE001  (as in `add`)
        _log(error, using)


def remove(
    message_ids: Collection[uuid.UUID],
    using: str,
    *,
    titles_of: Collection[uuid.UUID] = (),
    purge_after_commit: bool = True,
) -> None:
    """Remove messages, and the titles of conversations, from the index and from its file.

    Call it before the texts themselves are overwritten: it makes SQLite zero what this connection deletes. After the commit
    it calls `purge`, unless the caller does. On PostgreSQL, VACUUM removes what any deletion leaves.
    Raises DatabaseError: a redaction must not seem done if this failed.
    """
    backends.overwrite_deleted(using)
    condition = Q(message__in=message_ids) | Q(message=None, conversation__in=titles_of)
    write_transaction(partial(_delete, condition, using), using=using)
    if purge_after_commit:
        transaction.on_commit(partial(purge, using), using=using)


def _delete(condition: Q, using: str) -> None:
    with backends.secure_delete(using):
        SearchEntry.objects.using(using).filter(condition).delete()


def purge(using: str) -> None:
    """Remove what deleted entries have left in SQLite's file. Blocking, outside a transaction.

    Short transactions, between which others can write: for 1,000,000 messages it takes seconds.
    """
    backends.purge(using)


def insert_all(texts: Sequence[SavedText], using: str) -> None:
    """Insert the entries of many texts. Raises IntegrityError if other transactions have taken their numbers."""
    numbers = _FreeNumbers([number_of(text) for text in texts], using)
    tokenized = ((text, words(text.text)) for text in texts)
    SearchEntry.objects.using(using).bulk_create(
        [_entry(text, found, numbers.take(number_of(text))) for text, found in tokenized if found], batch_size=500
    )


class _FreeNumbers:
    """Finds free numbers, since an import creates the ids of thousands of texts in one millisecond."""

    def __init__(self, wanted: Collection[int], using: str) -> None:
        self._entries = SearchEntry.objects.using(using)
        self._taken = set(self._entries.filter(pk__in=wanted).values_list("pk", flat=True))
        self._free = set(wanted) - self._taken
        # Wanted number -> the last number that was taken for it.
        self._last: dict[int, int] = {}

    def take(self, wanted: int) -> int:
        """Take this number, or the next free one of its kind."""
        number = self._last.get(wanted, wanted)
        while number in self._taken or number not in self._free:
            if number in self._taken:
                number += _KINDS
            else:
                self._check_from(number)
        self._taken.add(number)
        self._last[wanted] = number
        return number

    def _check_from(self, number: int) -> None:
        end = number + _KINDS * _RANGE
        self._taken.update(self._entries.filter(pk__gte=number, pk__lt=end).values_list("pk", flat=True))
        self._free.update(range(number, end, _KINDS))


def _insert(texts: Sequence[SavedText], using: str) -> None:
    """Insert the entries of a few texts. Raises IntegrityError if one of them has an entry."""
    entries = [_entry(text, found, number_of(text)) for text in texts if (found := words(text.text))]
    if not entries:
        return
    try:
        with one_statement(using) if len(entries) <= MOST_ROWS else savepoint(using):
            insert(entries, using)
    except IntegrityError:
        # A number is taken by another text of the same kind and millisecond.
        with savepoint(using):
            insert_all(texts, using)


def _entry(text: SavedText, found: list[str], number: int) -> SearchEntry:
    return new_row(SearchEntry, id=number, conversation_id=text.conversation, message_id=text.message, words=found)


def _log(error: Exception, using: str) -> None:
    """Log a failure, so that the caller's transaction goes on. `manage.py rebuildsearch` adds what is missing."""
    if connections[using].needs_rollback:
        # The transaction or the connection is lost, which the caller must know.
        raise error
    logger.error("A text was saved, but cannot be searched: %s", describe(error))


def _milliseconds(pk: uuid.UUID) -> int:
    """Return when an id was made; for ids of another version than 7, now."""
    return pk.int >> 80 if pk.version == 7 else time.time_ns() // 1_000_000


def _low_bits(pk: uuid.UUID) -> int:
    """Return 18 bits that differ between ids of one millisecond: the 12 bits of time below it, and 6 random ones."""
    return (pk.int >> 64 & 0xFFF) << 6 | pk.int & 0x3F


def clear(using: str) -> None:
    """Delete all entries. The search finds little until `rebuild` is done."""
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


def rebuild(using: str) -> Iterator[int]:
    """Add what is missing; yield how many entries after each page. Blocking, outside a transaction.

    Missing are texts from before the index existed, and those whose entry could not be saved. It works in pages by primary
    key, each a transaction of its own, while workers are running. Existing entries stay, so a second run continues an
    interrupted one.
    """
    has_entry = Exists(SearchEntry.objects.using(using).filter(message=OuterRef("pk")))
    for ids in key_pages(Message.objects.using(using).filter(~has_entry).exclude(text=""), _PAGE_SIZE):
        yield _add(ids, _missing_messages, using)
    for ids in key_pages(Conversation.objects.using(using).exclude(title=""), _PAGE_SIZE):
        yield _add(ids, _missing_titles, using)
    backends.refresh_statistics(using)
    purge(using)


def _add(ids: Sequence[uuid.UUID], texts_of: Callable[[Sequence[uuid.UUID], str], list[SavedText]], using: str) -> int:
    add = partial(_add_once, ids, texts_of, using)
    for _retry in range(_TRIES - 1):
        # A worker may add one of these entries, or take a number, between the query and the insertion.
        with contextlib.suppress(IntegrityError):
            return write_transaction(add, using=using)
    return write_transaction(add, using=using)


def _add_once(
    ids: Sequence[uuid.UUID], texts_of: Callable[[Sequence[uuid.UUID], str], list[SavedText]], using: str
) -> int:
    # A write comes first, to lock a SQLite whose transactions do not begin with a lock.
    SearchEntry.objects.using(using).filter(pk=-1)._raw_delete(using)
    texts = texts_of(ids, using)
    insert_all(texts, using)
    return len(texts)


def _missing_messages(ids: Sequence[uuid.UUID], using: str) -> list[SavedText]:
    """Return the messages without an entry, locked: a text that is being redacted must not come back."""
    rows = _locked(Message.objects.using(using).filter(pk__in=ids).order_by("pk"), using)
    indexed = set(SearchEntry.objects.using(using).filter(message__in=ids).values_list("message", flat=True))
    return [
        SavedText(conversation, pk, role == Message.Role.ASSISTANT, text)
        for conversation, pk, role, text in rows.values_list("conversation", "pk", "role", "text")
        if text and pk not in indexed
    ]


def _missing_titles(ids: Sequence[uuid.UUID], using: str) -> list[SavedText]:
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
