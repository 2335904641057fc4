"""Owners as the admin's pages name them."""

from __future__ import annotations

from django.utils.translation import gettext as _

from streaming_chat.models import Conversation


def owner_name(conversation: Conversation) -> str:
    """Return the username of a conversation's owner, or that they are a visitor or erased."""
    if conversation.owner is not None:
        return str(conversation.owner.get_username())
    return _("erased") if conversation.erased_at else _("visitor")
