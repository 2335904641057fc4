"""The table of alerts: what happened, and which channels it must still be sent through. No text of people or models."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from streaming_chat.db.uuid7 import uuid7


class Alert(models.Model):
    """An alert, once for each `key`. It is sent by whichever process takes it (alerts/sender.py).

    pending: the channels through which it has not been sent. next_attempt_at: when they are tried, or tried again if the
    process that has taken the alert dies; null if nothing is pending, or if it was given up.
    """

    class Kind(models.TextChoices):
        """What happened."""

        ERROR_RATE = "error_rate", pgettext_lazy("alert", "many replies of a provider fail")
        SITE_BUDGET = "site_budget", pgettext_lazy("alert", "daily budget of the site exceeded")
        USER_BUDGET = "user_budget", pgettext_lazy("alert", "daily budget of a user exceeded")
        LABEL = "label", pgettext_lazy("alert", "label given")
        FEEDBACK = "feedback", pgettext_lazy("alert", "reply rated bad")
        TEST = "test", pgettext_lazy("alert", "test")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    key = models.CharField(max_length=255, unique=True, help_text="What it is about; there is one alert for it.")
    kind = models.CharField(_("what"), max_length=16, choices=Kind.choices)
    owner_key = models.CharField(_("owner key"), max_length=160, blank=True)
    data: models.JSONField[Any, Any] = models.JSONField(default=dict, help_text="Ids, numbers and names of settings.")
    pending: models.JSONField[Any, Any] = models.JSONField(default=list)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        default_permissions = ()
        indexes = (
            models.Index(
                fields=["next_attempt_at"], name="streaming_chat_alert_due", condition=Q(next_attempt_at__isnull=False)
            ),
            models.Index(fields=["owner_key"], name="streaming_chat_alert_owner", condition=~Q(owner_key="")),
            models.Index(fields=["created_at"], name="streaming_chat_alert_created"),
        )

    def __str__(self) -> str:
        return f"Alert {self.pk}"
