"""Reviewers and conversations to review, for tests."""

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.test import override_settings

from streaming_chat.models import Conversation, Review
from streaming_chat.review import reviews
from streaming_chat.review.queues import TAKE_TIMEOUT
from streaming_chat.review.reviews import Snapshot
from tests.factories import make_conversation, make_reply, make_staff

LIST = "/admin/streaming_chat/conversation/"


NEXT = f"{LIST}review/next/"


READER = ("view_conversation", "view_transcript")


REVIEWER = (*READER, "review_conversation")


LABELS = override_settings(STREAMING_CHAT_REVIEW_LABELS=["wrong", "rude"])


def make_reviewer(name: str = "rita") -> Any:
    return make_staff(name, *REVIEWER)


def make_waiting(**fields: Any) -> Conversation:
    """Return a conversation with a reply, unreviewed."""
    conversation = make_conversation(**fields)
    make_reply(conversation)
    return conversation


def snapshot(conversation: Conversation) -> Snapshot:
    """Return what a reviewer has before them who opens it now."""
    row = Conversation.objects.select_related("review").get(pk=conversation.pk)
    version = row.review.version if hasattr(row, "review") else 0
    return Snapshot(version, row.last_activity, reviews.newest_message(row.pk), row.needs_attention)


def finish(conversation: Conversation, by: Any, **options: Any) -> bool:
    return reviews.finish(
        conversation.pk, by, snapshot(conversation), options.get("notes"), options.get("verdicts", {})
    )


def state(conversation: Conversation) -> str:
    return Conversation.objects.get(pk=conversation.pk).review_state


def needs_attention(conversation: Conversation) -> bool:
    return Conversation.objects.get(pk=conversation.pk).needs_attention


def expire(conversation: Conversation) -> None:
    Review.objects.filter(pk=conversation.pk).update(taken_at=Now() - TAKE_TIMEOUT - timedelta(seconds=1))
