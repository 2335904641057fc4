"""Deletion by the owner, which can be undone for a while. privacy/deletion.py deletes the rows later."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial

from django.db.models.functions import Now

from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, LiveReply


def delete_for_owner(conversation_id: uuid.UUID) -> bool:
    """Mark a conversation as deleted and stop its live reply; False if it was deleted before. `restore` undoes it."""
    return write_transaction(partial(_delete, conversation_id))


def restore(conversation_id: uuid.UUID, within: timedelta) -> bool:
    """Undo a deletion that is not older than `within`; False if there is none."""
    recent = Conversation.objects.filter(pk=conversation_id, deleted_at__gte=Now() - within)
    return bool(write_transaction(partial(recent.update, deleted_at=None)))


def _delete(conversation_id: uuid.UUID) -> bool:
    found = Conversation.objects.filter(pk=conversation_id, deleted_at=None).update(deleted_at=Now())
    LiveReply.objects.filter(conversation_id=conversation_id).request_stop("user")
    return bool(found)
