"""The words of all texts, kept to be searched: an entry for each message, and for each title that a person gave.

Entries are written where texts are, in the same transaction, and go with their rows. What a database needs to find by
them is in backends.py; a text is made words in words.py, for both databases alike. models.py imports this.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from django.db import IntegrityError, connections, transaction
from django.db.models import Q

from streaming_chat.db.hooks import SavedText
from streaming_chat.db.transactions import savepoint, write_transaction
from streaming_chat.logs import describe, logger
from streaming_chat.models import SearchEntry

from . import backends
from .tokenizer import words

# The lowest bits of an entry's number say what it is of: a title, what a person wrote, or a reply.
_TITLE, _SAID, _REPLY = range(3)
_KINDS = 4
# Between them and the millisecond are 18 bits of the text's id: those of the time below it, and random ones. Of two
# transactions that want one number the second waits for the first, and two that want two in another order for each other.
_ID_BITS = 18
_MILLISECOND = _KINDS << _ID_BITS
# How many numbers are looked at in one query.
_LOOK = 1_000


def number_of(text: SavedText) -> int:
    """Return the number of a text's entry, if it is free."""
    kind = _TITLE if text.message is None else _REPLY if text.is_reply else _SAID
    made = text.message or text.conversation
    return at_millisecond(_milliseconds(made)) + _low_bits(made) * _KINDS + kind


def add(texts: Iterable[SavedText], using: str) -> None:
    """Let texts be found that are new. Inside the transaction that writes them, which goes on if this fails."""
    found = [text for text in texts if text.text]
    with _apart(using):
        if len(found) == 1:
            _insert(found[0], using)
        elif found:
            # Of one millisecond, often: a client's whole history.
            with savepoint(using):
                insert_each(found, using)


def retitle(conversation: uuid.UUID, title: str, using: str) -> None:
    """Let a conversation be found by the title that a person gave it, and by no earlier one. As `add`."""
    with _apart(using), savepoint(using):
        SearchEntry.objects.using(using).filter(conversation=conversation, message=None).delete()
        _insert(SavedText(conversation, None, False, title), using)


def forget(
    message_ids: Collection[uuid.UUID], using: str, *, titles_of: Collection[uuid.UUID] = (), at_once: bool = True
) -> None:
    """Take the words of messages, and of the titles of conversations, out of the index; nothing is left in its file.

    With the transaction: they are not found any more. After its commit, at once where there is none: they are not in the
    bytes of a SQLite file either (`purge`). On PostgreSQL VACUUM takes away what any deletion leaves.
    at_once: False for who calls `purge` once, after several of these.
    Call it before the texts themselves are overwritten: it lets SQLite put zeros over what this connection deletes.
    Raises DatabaseError when that cannot be, for then a redaction must not seem done.
    """
    backends.overwrite_deleted(using)
    of_these = Q(message__in=message_ids) | Q(message=None, conversation__in=titles_of)
    write_transaction(partial(_delete, of_these, using), using=using)
    if at_once:
        transaction.on_commit(partial(purge, using), using=using)


def _delete(of_these: Q, using: str) -> None:
    with backends.erasing(using):
        SearchEntry.objects.using(using).filter(of_these).delete()


def purge(using: str) -> None:
    """Take what deleted entries have left out of the file, if any did: after a deletion of conversations, too. Blocking.

    Outside a transaction. In short ones, between which others write: 1,000,000 messages take seconds.
    """
    backends.purge(using)


def at_millisecond(milliseconds: int) -> int:
    """Return the first number of the entries made then; in milliseconds since 1970."""
    return milliseconds * _MILLISECOND


def insert_each(texts: Sequence[SavedText], using: str) -> None:
    """Add entries by the hundred, with room found for each. Raises IntegrityError when others were added meanwhile."""
    room = _Room([number_of(text) for text in texts], using)
    made = ((text, words(text.text)) for text in texts)
    SearchEntry.objects.using(using).bulk_create(
        [_entry(text, found, room.number(number_of(text))) for text, found in made if found], batch_size=500
    )


class _Room:
    """Numbers that are free. An import makes the ids of thousands of texts in one millisecond."""

    def __init__(self, wanted: Collection[int], using: str) -> None:
        self._entries = SearchEntry.objects.using(using)
        self._taken = set(self._entries.filter(pk__in=wanted).values_list("pk", flat=True))
        self._free = set(wanted) - self._taken
        self._given: dict[int, int] = {}

    def number(self, wanted: int) -> int:
        """Return this one, or the next of its kind that is free, and take it."""
        number = self._given.get(wanted, wanted)
        while number in self._taken or number not in self._free:
            if number not in self._taken:
                self._look(number)
            else:
                number += _KINDS
        self._taken.add(number)
        self._given[wanted] = number
        return number

    def _look(self, number: int) -> None:
        upto = number + _KINDS * _LOOK
        self._taken.update(self._entries.filter(pk__gte=number, pk__lt=upto).values_list("pk", flat=True))
        self._free.update(range(number, upto, _KINDS))


def _insert(text: SavedText, using: str) -> None:
    """Insert its entry under the first number that is free. Raises IntegrityError when it has one."""
    if not (found := words(text.text)):
        return
    try:
        with savepoint(using):
            _entry(text, found, number_of(text)).save(force_insert=True, using=using)
    except IntegrityError:
        # Another text of its kind and millisecond.
        with savepoint(using):
            insert_each([text], using)


def _entry(text: SavedText, found: list[str], number: int) -> SearchEntry:
    return SearchEntry(pk=number, conversation_id=text.conversation, message_id=text.message, words=found)


@contextlib.contextmanager
def _apart(using: str) -> Iterator[None]:
    """Let a failure harm nothing else: what is not indexed, `manage.py rebuildsearch` adds."""
    try:
        yield
    except Exception as error:
        if connections[using].needs_rollback:
            # The transaction is lost with it, or the connection: whoever holds it must hear of that.
            raise
        logger.error("A text was saved, but cannot be searched: %s", describe(error))


def _milliseconds(made: uuid.UUID) -> int:
    """Return when an id was made; ids of another kind than ours count as made now."""
    return made.int >> 80 if made.version == 7 else time.time_ns() // 1_000_000


def _low_bits(made: uuid.UUID) -> int:
    """Return what tells ids of one millisecond apart: the 12 bits of time below it that ours have, and 6 random ones."""
    return (made.int >> 64 & 0xFFF) << 6 | made.int & 0x3F
