"""Deleting through Django takes the conversation's lock first, as everything here does (models.py).

Django's collector deletes from the leaves up. A user deleted while a reply of theirs ended then held the reply's claim and
wanted the conversation, which the writer held, wanting the claim: PostgreSQL ended one of the two as a deadlock.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F, Model
from django.db.models.signals import pre_delete

from .models import Conversation


def lock_conversations(*, instance: Model, using: str, **kwargs: Any) -> None:
    """Lock the conversation that is deleted, or those of an owner who is."""
    rows = Conversation.objects.using(using)
    mine = {"pk": instance.pk} if isinstance(instance, Conversation) else {"owner_id": instance.pk}
    # A write, the lock on both databases.
    rows.filter(**mine).update(last_activity=F("last_activity"))


def connect() -> None:
    """Listen to deletions, once."""
    for sender in (Conversation, get_user_model()):
        pre_delete.connect(lock_conversations, sender=sender, dispatch_uid="streaming_chat.deletions")
