"""Tables of access records: which member of staff read or changed what, and whose it was, saved before any text is sent.

Records hold ids and owner keys rather than foreign keys, so they outlive what they are about.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class AccessRecord(models.Model):
    """A list of texts, a transcript, a search or an export that staff read, or a change that they made.

    owner_key: whose conversation it was then, also once it is erased. If there were several owners, see AccessedOwner.
    """

    class Kind(models.TextChoices):
        """What was done."""

        LIST = "list", pgettext_lazy("access", "listed")
        OPEN = "open", pgettext_lazy("access", "opened")
        FOLLOW = "follow", pgettext_lazy("access", "followed live")
        SEARCH = "search", pgettext_lazy("access", "searched")
        EXPORT = "export", pgettext_lazy("access", "exported")
        STOP = "stop", pgettext_lazy("access", "stopped a reply")
        REDACT = "redact", pgettext_lazy("access", "redacted")
        REDACT_PART = "redact_part", pgettext_lazy("access", "redacted passages")
        ERASE = "erase", pgettext_lazy("access", "erased an owner")
        REVOKE = "revoke", pgettext_lazy("access", "revoked a link")
        BLOCK = "block", pgettext_lazy("access", "blocked an owner")
        UNBLOCK = "unblock", pgettext_lazy("access", "unblocked an owner")
        ANSWER = "answer", pgettext_lazy("access", "answered a tool call")

    at = models.DateTimeField(_("when"), db_default=Now(), editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    by_name = models.CharField(
        _("by name"),
        max_length=255,
        blank=True,
        help_text=_("The username at that time; for a command, the operating system's account."),
    )
    kind = models.CharField(_("what"), max_length=16, choices=Kind.choices)
    conversation = models.UUIDField(_("conversation"), null=True, blank=True)
    message = models.UUIDField(_("message"), null=True, blank=True)
    owner_key = models.CharField(_("owner key"), max_length=160, blank=True)
    terms = models.TextField(_("search terms"), blank=True, help_text=_("Text: only users who may read texts see it."))
    count = models.PositiveBigIntegerField(
        _("how many"), null=True, blank=True, help_text=_("Conversations or messages.")
    )

    reason = models.CharField(_("reason"), max_length=255, blank=True, help_text=_("Of a redaction, if one was given."))

    class Meta:
        verbose_name = _("access record")
        verbose_name_plural = _("access records")
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=["-at", "-id"], name="streaming_chat_access_recent"),
            models.Index(fields=["conversation", "-at"], name="streaming_chat_access_of"),
            models.Index(
                fields=["message"], name="streaming_chat_access_message", condition=models.Q(message__isnull=False)
            ),
            models.Index(fields=["by_name", "-at", "-id"], name="streaming_chat_access_by"),
            models.Index(fields=["kind", "-at", "-id"], name="streaming_chat_access_kind"),
            models.Index(fields=["owner_key", "-at", "-id"], name="streaming_chat_access_owner"),
        )

    def __str__(self) -> str:
        return f"Access record {self.pk}"


class AccessedOwner(models.Model):
    """An owner whose texts were among the results of a search, on a page of the list of feedback, or in an export."""

    record = models.ForeignKey(AccessRecord, models.CASCADE, verbose_name=_("access record"), related_name="owners")
    owner_key = models.CharField(_("owner key"), max_length=160)

    class Meta:
        verbose_name = _("owner in an access record")
        verbose_name_plural = _("owners in access records")
        default_permissions = ()
        indexes = (models.Index(fields=["owner_key", "record"], name="streaming_chat_accessed_owner"),)

    def __str__(self) -> str:
        return f"Owner in access record {self.record_id}"
