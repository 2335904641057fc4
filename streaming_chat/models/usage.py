"""The table of daily sums of replies, which outlives the messages. It has no text and nothing about a person.

usage/rollups.py fills it.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class DailyUsage(models.Model):
    """The replies of one day (UTC), one model and one way of ending.

    A day without replies has one row of zeros without a status once it has been counted.
    """

    day = models.DateField(_("day"))
    model = models.CharField(_("model"), max_length=255, blank=True)
    provider = models.CharField(_("provider"), max_length=64, blank=True)
    status = models.CharField(_("status"), max_length=16, blank=True)
    end_reason = models.CharField(_("end reason"), max_length=32, blank=True)
    error_code = models.CharField(_("error code"), max_length=64, blank=True)
    replies = models.PositiveBigIntegerField(_("replies"), default=0)
    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    cost = models.DecimalField(_("cost"), max_digits=20, decimal_places=8, null=True, blank=True)
    uncosted = models.PositiveBigIntegerField(_("replies without a known cost"), default=0)
    first_event_counts = models.JSONField(
        default=list, help_text="Replies in each bucket of histograms.FIRST_EVENT_MS; empty for none."
    )
    speed_counts = models.JSONField(
        default=list, help_text="Replies in each bucket of histograms.TOKENS_PER_SECOND; empty for none."
    )
    good = models.PositiveBigIntegerField(_("good feedback"), default=0)
    bad = models.PositiveBigIntegerField(_("bad feedback"), default=0)

    class Meta:
        verbose_name = _("daily usage")
        verbose_name_plural = _("daily usage")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["day", "model", "provider", "status", "end_reason", "error_code"],
                name="streaming_chat_daily_usage_once",
            ),
        )

    def __str__(self) -> str:
        return f"Usage of {self.day}"
