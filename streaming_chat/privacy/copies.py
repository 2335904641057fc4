"""Where the text of a message lies besides its row, and how it goes from there: its saved events, the search index, the
tail, the journal, and what SQLite's write-ahead log still has.

What keeps text of messages or titles elsewhere appends a function to `forgetters`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from django.db import connections, transaction

from streaming_chat.engine.journal import journal
from streaming_chat.models import ReplyEvent
from streaming_chat.notifiers import get_notifier
from streaming_chat.search import entries


class Forget(Protocol):
    """Takes away what it keeps of messages, and of the titles of conversations. using: its transaction is open."""

    def __call__(self, message_ids: Sequence[uuid.UUID], using: str, *, titles_of: Sequence[uuid.UUID]) -> object: ...


forgetters: list[Forget] = []
# Longest that a reader may keep the log from being emptied, in milliseconds.
_CHECKPOINT_MS = 1_000


def forget(
    message_ids: Sequence[uuid.UUID], using: str, *, titles_of: Sequence[uuid.UUID] = (), of_index: bool = True
) -> None:
    """Remove what is left of these besides their rows: in the open transaction, and after its commit elsewhere.

    titles_of: conversations whose titles go, too. of_index: also what the search index has; False where their rows go, of
    which the database tells it, for who calls `texts.purge` once at the end.
    Neither the tail nor the spool has what was not received, so ended messages are gone from there for good.
    """
    ReplyEvent.objects.using(using).filter(message_id__in=message_ids).remove()
    for function in [*forgetters, *([entries.forget] if of_index else [])]:
        function(message_ids, using, titles_of=titles_of)
    transaction.on_commit(partial(_forget_outside, tuple(message_ids), using), using=using, robust=True)


def _forget_outside(message_ids: Sequence[uuid.UUID], using: str) -> None:
    get_notifier().forget(message_ids)
    journal.forget(message_ids)
    empty_log(using)


def empty_log(using: str) -> None:
    """Write SQLite's write-ahead log into its file and cut it to nothing: it holds pages as they were.

    Not in a transaction: then nothing is done.
    """
    connection = connections[using]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        patience = cursor.fetchone()[0]
        cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
        try:
            # Of a file without such a log it does nothing. One that is held is emptied another time.
            with contextlib.suppress(Exception):
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience}")
