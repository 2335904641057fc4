"""Tables of reviews: how far each conversation was reviewed, the history of its notes, and each reviewer's verdicts.

What lists and queues filter by (the state, whether it needs attention, the sample number) are columns of Conversation,
where indexes cover them.
"""

from __future__ import annotations

import random
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from streaming_chat.db.uuid7 import uuid7

from .search import WordsField

# Sample numbers are below this: hundredths of a percent.
SAMPLE_NUMBERS = 10_000


class ReviewState(models.TextChoices):
    """How far the review of a conversation is."""

    UNREVIEWED = "unreviewed", pgettext_lazy("review", "unreviewed")
    IN_REVIEW = "in_review", pgettext_lazy("review", "in review")
    DONE = "done", pgettext_lazy("review", "done")


def random_sample_number() -> int:
    """Return the sample number of a new conversation. A sample of n % has the numbers below n * 100."""
    return random.randrange(SAMPLE_NUMBERS)  # noqa: S311  (a sample, not a secret)


class Review(models.Model):
    """How far a conversation was reviewed and by whom, with notes.

    reviewer, taken_at: who has or last had it, and since when; while it is unreviewed, when they released it.
    needed_attention: whether it needed attention when it was reviewed, and will if the review is reopened.
    version: increases with each change that another reviewer must see before saving theirs.
    """

    conversation = models.OneToOneField(
        "Conversation", models.CASCADE, verbose_name=_("conversation"), primary_key=True, related_name="review"
    )
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("reviewer"), null=True, blank=True, related_name="+"
    )
    taken_at = models.DateTimeField(_("taken"), null=True, blank=True)
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("reviewed by"),
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    done_at = models.DateTimeField(_("reviewed"), null=True, blank=True)
    through = models.ForeignKey(
        "Message", models.SET_NULL, verbose_name=_("reviewed through"), null=True, blank=True, related_name="+"
    )
    needed_attention = models.BooleanField(_("needed attention"), default=False)
    notes = models.TextField(_("notes"), blank=True)
    version = models.PositiveIntegerField(_("version"), default=0)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("changed by"), null=True, blank=True, related_name="+"
    )

    class Meta:
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        default_permissions = ()
        indexes = (
            models.Index(fields=["done_by", "done_at"], name="streaming_chat_review_done"),
            models.Index(fields=["-done_at"], name="streaming_chat_review_newest"),
        )

    def __str__(self) -> str:
        return f"Review of {self.pk}"


class ReviewNotes(models.Model):
    """A version of the notes of a review. The newest one is in Review, too.

    text: "" if the notes were emptied. words: for the search.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        "Conversation", models.CASCADE, verbose_name=_("conversation"), related_name="review_notes"
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    text = models.TextField(_("notes"), blank=True)
    words = WordsField(_("words"), default=list)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("review notes")
        verbose_name_plural = _("review notes")
        default_permissions = ()

    def __str__(self) -> str:
        return f"Review notes {self.pk}"


class Verdict(models.Model):
    """What one reviewer says of a conversation, or of one message of it.

    value: "" for labels or a correction alone. correction: of a reply, what the model should have answered; "" for none.
    """

    class Value(models.TextChoices):
        """What a reviewer can say."""

        GOOD = "good", pgettext_lazy("verdict", "good")
        BAD = "bad", pgettext_lazy("verdict", "bad")
        UNCLEAR = "unclear", pgettext_lazy("verdict", "unclear")
        UNSAFE = "unsafe", pgettext_lazy("verdict", "unsafe")

    conversation = models.ForeignKey(
        "Conversation", models.CASCADE, verbose_name=_("conversation"), related_name="verdicts"
    )
    message = models.ForeignKey(
        "Message", models.CASCADE, verbose_name=_("message"), null=True, blank=True, related_name="verdicts"
    )
    value = models.CharField(_("verdict"), max_length=16, blank=True, choices=Value.choices)
    labels: models.JSONField[Any, Any] = models.JSONField(_("labels"), default=list, blank=True)
    correction = models.TextField(_("corrected answer"), blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("verdict")
        verbose_name_plural = _("verdicts")
        default_permissions = ()
        indexes = (
            models.Index(fields=["value", "-id"], name="streaming_chat_verdict_newest"),
            models.Index(fields=["updated_at"], name="streaming_chat_verdict_changed"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["message", "by"],
                name="streaming_chat_verdict_per_message",
                condition=Q(message__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "by"],
                name="streaming_chat_verdict_per_chat",
                condition=Q(message__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"Verdict {self.pk}"
