"""The notes of a review, and their history: each version with its author and time.

A redaction and an erasure remove all of it (privacy/copies.py).
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet

from streaming_chat.db.alias import live_database
from streaming_chat.models import Review, ReviewNotes
from streaming_chat.search.tokenizer import words

from .rows import require_not_erased


def change_notes(review: Review, by: Any, notes: str) -> None:
    """Set the notes of a review, and keep the version. The caller locks the conversation before, and saves the review.

    Raises Conversation.DoesNotExist if the conversation is erased.
    """
    if notes != review.notes:
        require_not_erased(review.pk)
        review.notes = notes
        rows = ReviewNotes.objects.using(live_database())
        rows.create(conversation_id=review.pk, by=by, text=notes, words=words(notes))


def versions(conversation: uuid.UUID) -> QuerySet[ReviewNotes]:
    """Return all versions of the notes of a conversation, the newest first."""
    rows = ReviewNotes.objects.using(live_database()).filter(conversation=conversation)
    return rows.select_related("by").defer("words").order_by("-pk")
