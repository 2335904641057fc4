"""Deleting through Django: a conversation, or an owner, with whom their conversations go.

The conversation's lock is taken first, as everything here does (models.py). Django's collector deletes from the leaves up. A
user deleted while a reply of theirs ended then held the reply's claim and wanted the conversation, which the writer held,
wanting the claim: PostgreSQL ended one of the two as a deadlock.

Rows are not all that has text: what copies.py knows goes too, and SQLite's search index, in which the words of deleted rows
stay until it is merged. Who deletes single messages calls `texts.purge` themselves: a listener to those would make Django
load each message of each conversation that it deletes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import F, Model, QuerySet
from django.db.models.signals import pre_delete

from streaming_chat.models import Conversation, Message
from streaming_chat.privacy import copies
from streaming_chat.search import backends, entries

_AT_ONCE = 50
_is_forgotten: ContextVar[bool] = ContextVar("streaming_chat_is_forgotten", default=False)


@contextmanager
def forgotten() -> Iterator[None]:
    """Delete conversations inside of which the caller has taken the traces, and purges the index when all are gone."""
    before = _is_forgotten.set(True)
    try:
        yield
    finally:
        _is_forgotten.reset(before)


def lock_conversations(*, instance: Model, using: str, **kwargs: Any) -> None:
    """Lock the conversation that is deleted, or those of an owner who is."""
    # Before anything is written: SQLite leaves the text of a row that is only written anew.
    backends.overwrite_deleted(using)
    # A write, the lock on both databases.
    _deleted(instance, using).update(last_activity=F("last_activity"))


def forget_traces(*, instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
    """Take away what the rows leave elsewhere, with the transaction and after its commit."""
    if _is_forgotten.get() or (isinstance(instance, Conversation) and not _is_of_conversations(origin)):
        # The second is a conversation that goes with its owner, of whom the same was asked.
        return
    ids = list(_deleted(instance, using).values_list("pk", flat=True))
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        copies.forget(_messages(some, using), using, titles_of=some, of_index=False)
    if ids:
        _purge_once(using)


def _deleted(instance: Model, using: str) -> QuerySet[Conversation]:
    rows = Conversation.objects.using(using)
    return rows.filter(pk=instance.pk) if isinstance(instance, Conversation) else rows.filter(owner_id=instance.pk)


def _is_of_conversations(origin: Any) -> bool:
    """Return whether a deletion began with conversations. origin: the row, or the rows, that were told to delete."""
    return isinstance(origin, Conversation) or getattr(origin, "model", None) is Conversation


def _messages(conversations: list[uuid.UUID], using: str) -> list[uuid.UUID]:
    messages = Message.objects.using(using).filter(conversation_id__in=conversations)
    return list(messages.values_list("pk", flat=True))


@dataclass(frozen=True)
class _Purge:
    """Takes the words out of the index's file; two of one database are equal."""

    using: str

    def __call__(self) -> None:
        entries.purge(self.using)


def _purge_once(using: str) -> None:
    """Purge after the commit, once for all that this transaction deletes: it merges the whole index."""
    purge = _Purge(using)
    connection = connections[using]
    if not any(waiting[1] == purge for waiting in connection.run_on_commit):
        # Robust: what is deleted is deleted. A purge that fails is left to the next, as any that breaks off.
        transaction.on_commit(purge, using=using, robust=True)


def connect() -> None:
    """Listen to deletions, once."""
    for sender in (Conversation, get_user_model()):
        pre_delete.connect(lock_conversations, sender=sender, dispatch_uid="streaming_chat.deletions")
        pre_delete.connect(forget_traces, sender=sender, dispatch_uid="streaming_chat.privacy.deletion_signals.traces")
