"""Removes conversations that nobody has touched for long: those of visitors, those that their owners deleted, or all.

A few in each transaction, which locks the conversations first, as everything here does (models.py): then nobody sends
into one, claims it or restores it, and what was true of it when it was chosen is asked again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_conflict, is_locked
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, ConversationQuerySet, Message
from streaming_chat.privacy import copies
from streaming_chat.search import backends, entries

from .deletion_signals import forgotten

# A conversation has hundreds of messages, seldom thousands; those of so many are removed in well under a second.
_AT_ONCE = 50


def of_visitors(age: timedelta) -> ConversationQuerySet:
    """Return what visitors wrote and nobody has claimed, without activity for so long."""
    return _untouched(age).filter(owner=None, owner_key__startswith="v:")


def deleted(age: timedelta) -> ConversationQuerySet:
    """Return what owners marked as deleted so long ago, whosever it is."""
    return _untouched(age).filter(deleted_at__lt=Now() - age)


def everything(age: timedelta) -> ConversationQuerySet:
    """Return whatever has had no activity for so long, whosever it is."""
    return _untouched(age)


def _untouched(age: timedelta) -> ConversationQuerySet:
    # One with a live reply is touched.
    return Conversation.objects.using(live_database()).filter(last_activity__lt=Now() - age, live=None)


def remove(conversations: ConversationQuerySet) -> Iterator[int]:
    """Remove these, and yield how many after each transaction. Those whose rows somebody holds are left. Blocking."""
    # Before anything is written: SQLite leaves the text of a row that is only written anew.
    backends.overwrite_deleted(live_database())
    last = uuid.UUID(int=0)
    while ids := list(conversations.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):
        last = ids[-1]
        try:
            yield write_transaction(partial(_remove, conversations, ids))
        except OperationalError as error:
            if not (is_locked(error) or is_conflict(error)):
                raise
    entries.purge(live_database())


def _remove(conversations: ConversationQuerySet, ids: list[uuid.UUID]) -> int:
    using = live_database()
    chosen = Conversation.objects.using(using).filter(pk__in=ids)
    # The write is the lock; what has changed since they were chosen is seen after it.
    chosen.update(last_activity=F("last_activity"))
    still = list(conversations.filter(pk__in=ids).values_list("pk", flat=True))
    messages = Message.objects.using(using).filter(conversation_id__in=still)
    copies.forget(list(messages.values_list("pk", flat=True)), using, titles_of=still, of_index=False)
    # By Django's collector, so that a site's own receivers and references hear of it.
    with forgotten():
        chosen.filter(pk__in=still).delete()
    return len(still)
