"""The tables of daily sums of replies and of tool calls, which outlive the messages, and that of the calls for titles. They
have no text.

usage/rollups.py fills the first two, chats/model_titles.py the third.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation


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
    cached_input_tokens = models.PositiveBigIntegerField(_("cached input tokens"), default=0)
    cache_write_tokens = models.PositiveBigIntegerField(_("cache write tokens"), default=0)
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


class DailyToolUsage(models.Model):
    """The calls of one day (UTC), one tool and one status. name: "" for names that no tool has had."""

    day = models.DateField(_("day"))
    name = models.CharField(_("tool"), max_length=255, blank=True)
    status = models.CharField(_("status"), max_length=16)
    calls = models.PositiveBigIntegerField(_("calls"), default=0)
    ms_counts = models.JSONField(default=list, help_text="Calls in each bucket of histograms.TOOL_MS; empty for none.")

    class Meta:
        verbose_name = _("daily usage of a tool")
        verbose_name_plural = _("daily usage of tools")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["day", "name", "status"], name="streaming_chat_tool_usage_once"),
        )

    def __str__(self) -> str:
        return f"Usage of a tool on {self.day}"


class ModelTitle(models.Model):
    """The one call to a model for the title of a conversation, and what it cost; there is no usage if it failed.

    is_in_use: the conversation's title is the model's; nobody has replaced or redacted it.
    """

    conversation = models.OneToOneField(
        Conversation, models.CASCADE, verbose_name=_("conversation"), primary_key=True, related_name="model_title"
    )
    model = models.CharField(_("model"), max_length=255)
    input_tokens = models.PositiveIntegerField(_("input tokens"), null=True, blank=True)
    output_tokens = models.PositiveIntegerField(_("output tokens"), null=True, blank=True)
    cost = models.DecimalField(_("cost"), max_digits=16, decimal_places=8, null=True, blank=True)
    is_in_use = models.BooleanField(_("is in use"), default=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    objects: models.Manager[ModelTitle] = models.Manager()

    class Meta:
        verbose_name = _("title by a model")
        verbose_name_plural = _("titles by a model")
        default_permissions = ()
        indexes = (models.Index(fields=["created_at"], name="streaming_chat_title_created"),)

    def __str__(self) -> str:
        return f"Title of {self.pk}"
