"""The queues of conversations to review, newest first, by the columns of Conversation that put one into them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import pgettext_lazy

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Review, ReviewState
from streaming_chat.models.reviews import SAMPLE_NUMBERS
from streaming_chat.protocol import endings

# After this time without a change, another reviewer may take the conversation.
TAKE_TIMEOUT = timedelta(minutes=30)
# Over more days, each look would go through all the older conversations that are in no sample.
SAMPLE_SPAN = timedelta(days=30)
# Counting more would take time, and nobody needs the exact number.
MAX_COUNT = 1_000


class Queue(models.TextChoices):
    """Where "Next" takes conversations from."""

    ATTENTION = "attention", pgettext_lazy("queue", "needs attention")
    SAMPLE = "sample", pgettext_lazy("queue", "random sample")
    ALL = "all", pgettext_lazy("queue", "all unreviewed")


def unreviewed(queue: str) -> QuerySet[Conversation]:
    """Return a queue's unreviewed conversations, newest first; none that are empty, deleted, erased or have a live reply."""
    rows = _in_queue(Conversation.objects.using(live_database()), queue).order_by("-last_activity", "-pk")
    if queue == Queue.ATTENTION:
        # Not `= unreviewed`: SQLite would use the index of states and read all of them to find the few. A conversation
        # that is done needs no attention.
        return rows.exclude(review_state__in=[ReviewState.IN_REVIEW, ReviewState.DONE])
    return rows.filter(review_state=ReviewState.UNREVIEWED)


def expired(queue: str | None = None) -> QuerySet[Conversation]:
    """Return the conversations that were taken longer than TAKE_TIMEOUT ago; of one queue, or of all."""
    taken = Conversation.objects.using(live_database()).filter(review_state=ReviewState.IN_REVIEW)
    rows = taken.exclude(review__taken_at__gte=Now() - TAKE_TIMEOUT)
    return rows if queue is None else _in_queue(rows, queue)


def without_released(rows: QuerySet[Conversation], by: Any) -> QuerySet[Conversation]:
    """Leave out what a reviewer has released within TAKE_TIMEOUT: "Next" would go back and forth between two of them."""
    return rows.exclude(review__reviewer=by, review__taken_at__gte=Now() - TAKE_TIMEOUT)


def _in_queue(rows: QuerySet[Conversation], queue: str) -> QuerySet[Conversation]:
    rows = rows.filter(deleted_at=None, erased_at=None, message_count__gt=0).exclude(last_status__in=endings.LIVE)
    if queue == Queue.ATTENTION:
        return rows.filter(needs_attention=True)
    if queue == Queue.SAMPLE:
        numbers = round(conf.STREAMING_CHAT_REVIEW_SAMPLE_PERCENT * SAMPLE_NUMBERS / 100)
        return rows.filter(sample_number__lt=numbers, last_activity__gte=Now() - SAMPLE_SPAN)
    return rows


def columns_on_change(needs_attention: bool) -> dict[str, Any]:
    """Return the columns to set if something is added to a conversation: a finished review is open again."""
    done = When(review_state=ReviewState.DONE, then=Value(ReviewState.UNREVIEWED))
    columns: dict[str, Any] = {"review_state": Case(done, default=F("review_state"))}
    if needs_attention:
        columns["needs_attention"] = True
    return columns


def reviewed_today(by: Any) -> QuerySet[Review]:
    """Return the reviews that a reviewer has finished on this day of the current time zone."""
    start = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return Review.objects.using(live_database()).filter(done_by=by, done_at__gte=start)
