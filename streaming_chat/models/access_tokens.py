"""The table of access tokens, by which programs use the API as their owner. It has no token, only what recognises one."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from streaming_chat.db.uuid7 import uuid7


class AccessToken(models.Model):
    """A token of one user: `sc_<prefix>_<secret>`. It is revoked by deleting its row.

    digest: an HMAC of the whole token; see accounts/access_tokens.py.
    """

    class Scope(models.TextChoices):
        """What a token may do."""

        CHAT = "chat", pgettext_lazy("scope", "read and write")
        READ = "read", pgettext_lazy("scope", "read only")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        verbose_name=_("owner"),
        related_name="streaming_chat_access_tokens",
        editable=False,
    )
    name = models.CharField(
        _("name"), max_length=100, help_text=_("What the token is for, so that you recognize it later.")
    )
    scope = models.CharField(_("access"), max_length=16, choices=Scope.choices, default=Scope.CHAT)
    prefix = models.CharField(_("beginning"), max_length=8, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        default_permissions = ("add", "view", "delete")
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        # Never the name, which is text: Django's admin log stores this.
        return f"sc_{self.prefix}"
