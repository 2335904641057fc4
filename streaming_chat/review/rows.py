"""The rows of a review, which are read and written under the lock of their conversation."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import F, QuerySet

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message, Review


def conversation_rows(pk: uuid.UUID) -> QuerySet[Conversation]:
    """Return the conversation with this id, if it exists."""
    return Conversation.objects.using(live_database()).filter(pk=pk)


def message_rows(pk: uuid.UUID) -> QuerySet[Message]:
    """Return the messages of a conversation."""
    return Message.objects.using(live_database()).filter(conversation_id=pk)


def lock(pk: uuid.UUID) -> None:
    """Lock a conversation until the end of the transaction. Raises Conversation.DoesNotExist if it was deleted."""
    if not conversation_rows(pk).update(review_state=F("review_state")):
        raise Conversation.DoesNotExist


def require_not_erased(pk: uuid.UUID) -> None:
    """Raise Conversation.DoesNotExist if a conversation is erased: what is written about it now would stay for ever."""
    if conversation_rows(pk).filter(erased_at__isnull=False).exists():
        raise Conversation.DoesNotExist


def review_of(pk: uuid.UUID) -> Review:
    """Return the review, or a new one. The caller has locked the conversation."""
    saved = Review.objects.using(live_database()).select_related("changed_by").filter(pk=pk).first()
    return saved or Review(conversation_id=pk)


def save_change(review: Review, by: Any) -> None:
    """Save a change that another reviewer must see before saving theirs. by: None for a command."""
    review.version += 1
    review.changed_by = by
    review.save(using=live_database(), force_insert=review._state.adding)
