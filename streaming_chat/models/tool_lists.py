"""What servers of tools (MCP) have offered: each conversation keeps the list that it began with."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation


class ToolList(models.Model):
    """The tools that a server offered, as conversations use them: a row for each different list.

    server: its address, without query. digest: the SHA-256 of `definitions`. These are JSON as text, since a database that
    stores JSON in a form of its own would change the order of the fields.
    """

    server = models.CharField(_("server"), max_length=500, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    definitions = models.TextField(_("tools"), editable=False)
    created_at = models.DateTimeField(_("first seen"), db_default=Now(), editable=False)
    conversations = models.ManyToManyField(Conversation, verbose_name=_("conversations"), related_name="tool_lists")

    class Meta:
        verbose_name = _("list of tools")
        verbose_name_plural = _("lists of tools")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["server", "digest"], name="streaming_chat_tool_list"),)
        # For the admin's list.
        indexes = (models.Index(fields=["-created_at"], name="streaming_chat_tools_recent"),)

    def __str__(self) -> str:
        return f"{self.server} {self.digest[:12]}"
