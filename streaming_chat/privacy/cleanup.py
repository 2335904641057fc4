"""Removes conversations without activity: those of visitors, those that owners deleted, or all.

A few in each transaction, which locks the conversations first (see models/conversations.py): nobody can send into one,
merge it or restore it meanwhile, and the conditions are checked again under the lock.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from django.db.models import F
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.paging import write_pages
from streaming_chat.models import Conversation, ConversationQuerySet, Message
from streaming_chat.search import backends, entries

from . import copies
from .deletion_signals import copies_removed

# A conversation has hundreds of messages, seldom thousands; removing this many takes well under a second.
_PAGE_SIZE = 50


def of_visitors(age: timedelta) -> ConversationQuerySet:
    """Return visitors' conversations, which no user has merged, without activity for this long."""
    return inactive(age).filter(owner=None, owner_key__startswith="v:")


def deleted(age: timedelta) -> ConversationQuerySet:
    """Return the conversations that owners deleted this long ago."""
    return inactive(age).filter(deleted_at__lt=Now() - age)


def inactive(age: timedelta) -> ConversationQuerySet:
    """Return all conversations without activity for this long. A live reply counts as activity."""
    return Conversation.objects.using(live_database()).filter(last_activity__lt=Now() - age, live=None)


def remove(conversations: ConversationQuerySet) -> Iterator[int]:
    """Remove conversations, and yield how many after each transaction. Locked ones are skipped. Blocking."""
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    backends.overwrite_deleted(live_database())
    yield from write_pages(conversations, _PAGE_SIZE, partial(_remove, conversations))
    entries.purge(live_database())


def _remove(conversations: ConversationQuerySet, ids: list[uuid.UUID]) -> int:
    using = live_database()
    rows = Conversation.objects.using(using).filter(pk__in=ids)
    # The write is the lock; the conditions are checked again under it.
    rows.update(last_activity=F("last_activity"))
    still = list(conversations.filter(pk__in=ids).values_list("pk", flat=True))
    messages = Message.objects.using(using).filter(conversation_id__in=still)
    copies.remove_outside_index(list(messages.values_list("pk", flat=True)), using)
    # With Django's collector, so the site's own signal receivers and foreign keys take part.
    with copies_removed():
        rows.filter(pk__in=still).delete()
    return len(still)
