"""What reviewers said of conversations: how far each was reviewed, and their verdicts. Tables only; reviews.py fills them.

What lists and queues ask (the state, whether it needs attention, its number in the draw) is in columns of Conversation,
where an index has it. models.py imports this, which is where Django looks for models.
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

# A conversation's number in the draw is below this: hundredths of a percent.
DRAWS = 10_000


class ReviewState(models.TextChoices):
    """How far the review of a conversation is."""

    UNREVIEWED = "unreviewed", pgettext_lazy("review", "unreviewed")
    IN_REVIEW = "in_review", pgettext_lazy("review", "in review")
    DONE = "done", pgettext_lazy("review", "done")


class Verdict(models.TextChoices):
    """What a reviewer thinks of a conversation or a message."""

    GOOD = "good", pgettext_lazy("verdict", "good")
    BAD = "bad", pgettext_lazy("verdict", "bad")
    UNCLEAR = "unclear", pgettext_lazy("verdict", "unclear")
    UNSAFE = "unsafe", pgettext_lazy("verdict", "unsafe")


def draw() -> int:
    """Return the number of a new conversation: a sample of n % is those whose number is below n hundredths of DRAWS."""
    return random.randrange(DRAWS)  # noqa: S311  (a sample, not a secret)


class Review(models.Model):
    """How far a conversation was reviewed, by whom, with notes.

    version: grows with each change that another reviewer must know of before they save theirs.
    """

    conversation = models.OneToOneField(
        "Conversation", models.CASCADE, verbose_name=_("conversation"), primary_key=True, related_name="review"
    )
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("reviewer"), null=True, blank=True, related_name="+"
    )
    claimed_at = models.DateTimeField(_("taken"), null=True, blank=True)
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
    notes = models.TextField(_("notes"), blank=True)
    version = models.PositiveIntegerField(_("version"), default=0)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("changed by"), null=True, blank=True, related_name="+"
    )

    class Meta:
        app_label = "streaming_chat"
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        default_permissions = ()
        indexes = (models.Index(fields=["done_by", "done_at"], name="streaming_chat_review_done"),)

    def __str__(self) -> str:
        return f"Review of {self.pk}"


class Mark(models.Model):
    """One reviewer's verdict on a conversation, or on one message of it; each reviewer has their own."""

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(
        "Conversation", models.CASCADE, verbose_name=_("conversation"), related_name="marks"
    )
    message = models.ForeignKey(
        "Message", models.CASCADE, verbose_name=_("message"), null=True, blank=True, related_name="marks"
    )
    verdict = models.CharField(_("verdict"), max_length=16, blank=True, choices=Verdict.choices)
    labels: models.JSONField[Any, Any] = models.JSONField(_("labels"), default=list, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=Now(), editable=False)

    class Meta:
        app_label = "streaming_chat"
        verbose_name = _("verdict")
        verbose_name_plural = _("verdicts")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["message", "by"], name="streaming_chat_mark_once", condition=Q(message__isnull=False)
            ),
            models.UniqueConstraint(
                fields=["conversation", "by"], name="streaming_chat_mark_whole", condition=Q(message__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"Mark {self.pk}"
