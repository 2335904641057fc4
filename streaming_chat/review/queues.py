"""What waits for a reviewer, newest first. Every queue is read from an index: see the two of Conversation.Meta for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import pgettext_lazy

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Review, ReviewState, Status
from streaming_chat.models.reviews import DRAWS

# A conversation that was taken and not touched for so long is free again.
CLAIM = timedelta(minutes=30)
# A sample is of what happens now; further back every conversation that nobody chose would be looked at again each time.
SAMPLE_SPAN = timedelta(days=30)
# More need no exact number, and counting them no time.
MAX_LEFT = 1_000


class Queue(models.TextChoices):
    """Where Next takes conversations from."""

    ATTENTION = "attention", pgettext_lazy("queue", "needs attention")
    SAMPLE = "sample", pgettext_lazy("queue", "random sample")
    ALL = "all", pgettext_lazy("queue", "all unreviewed")


def waiting(queue: str) -> QuerySet[Conversation]:
    """Return the unreviewed conversations of a queue, newest first: none that is empty, deleted or being written to now."""
    rows = _of(Conversation.objects.using(live_database()), queue).order_by("-last_activity", "-pk")
    if queue == Queue.ATTENTION:
        # Not `= unreviewed`, for which SQLite takes the index of states and reads all of them to find the few: nothing
        # that needs attention is done.
        return rows.exclude(review_state__in=[ReviewState.IN_REVIEW, ReviewState.DONE])
    return rows.filter(review_state=ReviewState.UNREVIEWED)


def expired(queue: str | None = None) -> QuerySet[Conversation]:
    """Return those in review that were not touched for CLAIM, which are free; of a queue, what Next takes besides."""
    taken = Conversation.objects.using(live_database()).filter(review_state=ReviewState.IN_REVIEW)
    free = taken.exclude(review__claimed_at__gte=Now() - CLAIM)
    return free if queue is None else _of(free, queue)


def _of(rows: QuerySet[Conversation], queue: str) -> QuerySet[Conversation]:
    rows = rows.filter(deleted_at=None, message_count__gt=0).exclude(last_status=Status.STREAMING)
    if queue == Queue.ATTENTION:
        return rows.filter(needs_attention=True)
    if queue == Queue.SAMPLE:
        drawn = round(conf.STREAMING_CHAT_REVIEW_SAMPLE_PERCENT * DRAWS / 100)
        return rows.filter(review_draw__lt=drawn, last_activity__gte=Now() - SAMPLE_SPAN)
    return rows


def done_since(by: Any, since: datetime) -> QuerySet[Review]:
    """Return the conversations that somebody has reviewed since then, each once."""
    return Review.objects.using(live_database()).filter(done_by=by, done_at__gte=since)


def today() -> datetime:
    """Return when the day began where who asks is."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
