"""The table of `DatabaseQuota`."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class QuotaUse(models.Model):
    """What one owner, one network address or the whole site has used on one day of UTC, reservations included."""

    day = models.DateField(_("day"))
    key = models.CharField(
        _("key"), max_length=200, help_text=_("Of an owner, the keyed hash of an address, or the site.")
    )
    replies = models.PositiveIntegerField(_("replies"), default=0)
    tokens = models.PositiveBigIntegerField(_("tokens"), default=0)

    class Meta:
        verbose_name = _("quota use")
        verbose_name_plural = _("quota uses")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["day", "key"], name="streaming_chat_quota_use_once"),)

    def __str__(self) -> str:
        return f"Quota use {self.pk}"
