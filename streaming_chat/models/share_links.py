"""The table of links with which owners show a branch of a conversation to everybody who has the link."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation, Message


class ShareLink(models.Model):
    """The link to a conversation, one at most. It shows the messages up to `message`, and none that were sent later.

    The table has a digest of the token in the link, so that nobody who reads the table has the link.
    """

    conversation = models.OneToOneField(
        Conversation,
        models.CASCADE,
        verbose_name=_("conversation"),
        primary_key=True,
        related_name="share_link",
    )
    message = models.ForeignKey(Message, models.CASCADE, verbose_name=_("last message"), related_name="+")
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("shared link")
        verbose_name_plural = _("shared links")
        default_permissions = ()
        # For the admin's list.
        indexes = (models.Index(fields=["-created_at"], name="streaming_chat_link_recent"),)

    def __str__(self) -> str:
        return gettext("Link to conversation {id}").format(id=self.conversation_id)
