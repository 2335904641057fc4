"""Deletes conversations for good: inactive ones, and any that a site deletes by itself or together with their user.

The conversation is locked first, as everywhere (see models/conversations.py). Django's collector deletes from the leaves up:
without this, a user who was deleted while their reply ended held the row of the live reply and waited for the conversation,
and the writer the other way round, which PostgreSQL ends as a deadlock.

Under the lock, the conditions are checked again: nobody can send into a conversation, merge it or restore it meanwhile. Then
the copies of the texts are removed, and SQLite's search index is purged. A site that deletes single messages calls
`search.entries.purge` itself: with a receiver for messages, Django would load each message of each deleted conversation.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import F, Model, QuerySet
from django.db.models.functions import Now
from django.db.models.signals import pre_delete

from streaming_chat.accounts.owners import user_key
from streaming_chat.db.alias import live_database
from streaming_chat.db.paging import key_pages, write_pages
from streaming_chat.models import Alert, BlockedOwner, Conversation, ConversationQuerySet, DailyOwnerUsage, Message
from streaming_chat.search import backends, entries

from . import copies

# A conversation has hundreds of messages, seldom thousands; removing this many takes well under a second.
_PAGE_SIZE = 50
_copies_removed: ContextVar[bool] = ContextVar("streaming_chat_copies_removed", default=False)


def of_visitors(age: timedelta) -> ConversationQuerySet:
    """Return visitors' conversations, which no user has merged, without activity for this long."""
    return inactive(age).filter(owner=None, owner_key__startswith="v:")


def deleted(age: timedelta) -> ConversationQuerySet:
    """Return the conversations that owners deleted this long ago."""
    return inactive(age).filter(deleted_at__lt=Now() - age)


def empty(age: timedelta) -> ConversationQuerySet:
    """Return the conversations that were created this long ago and have no message."""
    return inactive(age).filter(message_count=0)


def inactive(age: timedelta) -> ConversationQuerySet:
    """Return all conversations without activity for this long. A live reply counts as activity."""
    return Conversation.objects.using(live_database()).filter(last_activity__lt=Now() - age, live=None)


def remove(conversations: ConversationQuerySet) -> Iterator[int]:
    """Remove conversations, and yield how many after each transaction. Locked ones are skipped. Blocking."""
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    backends.overwrite_deleted(live_database())
    yield from write_pages(conversations, _PAGE_SIZE, partial(_remove, conversations))
    copies.remove_unused_tool_lists(live_database())
    entries.purge(live_database())


def _remove(conversations: ConversationQuerySet, ids: list[uuid.UUID]) -> int:
    using = live_database()
    rows = Conversation.objects.using(using).filter(pk__in=ids)
    # The write is the lock; the conditions are checked again under it.
    rows.update(last_activity=F("last_activity"))
    still = list(conversations.filter(pk__in=ids).values_list("pk", flat=True))
    copies.remove(_messages_of(still, using), using)
    # With Django's collector, so the site's own signal receivers and foreign keys take part.
    with _copies_are_removed():
        rows.filter(pk__in=still).delete()
    return len(still)


@contextmanager
def _copies_are_removed() -> Iterator[None]:
    """Delete conversations inside, after the caller has removed the copies. The caller purges the index at the end."""
    before = _copies_removed.set(True)
    try:
        yield
    finally:
        _copies_removed.reset(before)


def lock_conversations(*, instance: Model, using: str, **kwargs: Any) -> None:
    """Lock the conversation that is deleted, or those of the user who is."""
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    backends.overwrite_deleted(using)
    # The write is the lock on both databases.
    _conversations_of(instance, using).update(last_activity=F("last_activity"))


def remove_copies(*, instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
    """Remove the copies of the texts, in the transaction and after its commit."""
    if _copies_removed.get():
        return
    if isinstance(instance, Conversation) and not _began_with_conversations(origin):
        # It is deleted with its owner, whose own signal removes the copies.
        return
    is_empty = True
    for ids in key_pages(_conversations_of(instance, using), _PAGE_SIZE):
        copies.remove(_messages_of(ids, using), using)
        is_empty = False
    if not is_empty:
        _purge_once(using)


def remove_owner_rows(*, instance: Model, using: str, **kwargs: Any) -> None:
    """Remove what names a deleted user by the owner key alone: the block, the daily usage and alerts about budgets."""
    key = user_key(instance)
    BlockedOwner.objects.using(using).filter(pk=key).delete()
    DailyOwnerUsage.objects.using(using).filter(owner_key=key).delete()
    Alert.objects.using(using).filter(owner_key=key).delete()


def _conversations_of(instance: Model, using: str) -> QuerySet[Conversation]:
    rows = Conversation.objects.using(using)
    return rows.filter(pk=instance.pk) if isinstance(instance, Conversation) else rows.filter(owner_id=instance.pk)


def _began_with_conversations(origin: Any) -> bool:
    """Return whether a deletion began with conversations. origin: the row or query set whose delete() was called."""
    return isinstance(origin, Conversation) or getattr(origin, "model", None) is Conversation


def _messages_of(conversations: list[uuid.UUID], using: str) -> list[uuid.UUID]:
    messages = Message.objects.using(using).filter(conversation_id__in=conversations)
    return list(messages.values_list("pk", flat=True))


@dataclass(frozen=True)
class _Purge:
    """Purges the search index. Equal for the same database, so `_purge_once` finds it among the callbacks."""

    using: str

    def __call__(self) -> None:
        entries.purge(self.using)


def _purge_once(using: str) -> None:
    """Purge the search index after the commit, once per transaction: it merges the whole index."""
    purge = _Purge(using)
    connection = connections[using]
    if not any(callback[1] == purge for callback in connection.run_on_commit):
        # Robust: the deletion is done. If the purge fails, the next one does its work.
        transaction.on_commit(purge, using=using, robust=True)


def connect() -> None:
    """Connect the receivers, once."""
    for sender in (Conversation, get_user_model()):
        pre_delete.connect(lock_conversations, sender=sender, dispatch_uid="streaming_chat.lock_conversations")
        pre_delete.connect(remove_copies, sender=sender, dispatch_uid="streaming_chat.remove_copies")
    uid = "streaming_chat.remove_owner_rows"
    pre_delete.connect(remove_owner_rows, sender=get_user_model(), dispatch_uid=uid)
