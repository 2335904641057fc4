"""The tables about owners: who is blocked from chatting, and what each of them has used on each day.

Both name an owner by the key alone: a visitor has no other row. `privacy/deletion.py` deletes the rows of a deleted user.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class BlockedOwner(models.Model):
    """An owner who may not send. The row is deleted when the block is lifted; access records keep who did both, and when."""

    owner_key = models.CharField(_("owner key"), max_length=160, primary_key=True)
    reason = models.TextField(_("reason"), help_text=_("Text for other staff. The owner sees it only in an export."))
    by_name = models.CharField(_("by name"), max_length=255, help_text=_("The username at that time."))
    at = models.DateTimeField(_("when"), db_default=Now(), editable=False)

    objects: models.Manager[BlockedOwner] = models.Manager()

    class Meta:
        verbose_name = _("blocked owner")
        verbose_name_plural = _("blocked owners")
        default_permissions = ()
        indexes = (models.Index(fields=["-at"], name="streaming_chat_blocked_recent"),)

    def __str__(self) -> str:
        return f"Block of {self.owner_key}"


class DailyOwnerUsage(models.Model):
    """What one owner has used on one day (UTC), the titles that a model has given included."""

    day = models.DateField(_("day"))
    owner_key = models.CharField(_("owner key"), max_length=160)
    replies = models.PositiveBigIntegerField(_("replies"), default=0)
    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    cost = models.DecimalField(_("cost"), max_digits=20, decimal_places=8, null=True, blank=True)
    uncosted = models.PositiveBigIntegerField(_("replies without a known cost"), default=0)

    class Meta:
        verbose_name = _("daily usage of an owner")
        verbose_name_plural = _("daily usage of owners")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["day", "owner_key"], name="streaming_chat_owner_usage_once"),)
        indexes = (models.Index(fields=["owner_key", "day"], name="streaming_chat_owner_usage_of"),)

    def __str__(self) -> str:
        return f"Usage of {self.owner_key} on {self.day}"
