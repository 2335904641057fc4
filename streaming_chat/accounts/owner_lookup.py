"""Finds an owner by the key, for the commands and the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation

from .owners import Owner, user_key


def owner_with_key(key: str) -> Owner | None:
    """Return the owner with this key: u:<pk> of a user, v:<hmac> of a visitor. None if there is none.

    user is None for a visitor, and for a deleted user who still has conversations.
    """
    owned = Conversation.objects.using(live_database()).owned_by(key).select_related("owner").first()
    user = owned.owner if owned is not None else user_with_key(key)
    return None if owned is None and user is None else Owner(user, key)


def user_with_key(key: str) -> Any:
    """Return the user with this owner key; None for any other key, also for another spelling of it, such as u:01."""
    if not key.startswith("u:"):
        return None
    try:
        user = get_user_model()._default_manager.using(live_database()).filter(pk=key.removeprefix("u:")).first()
    except (ValueError, OverflowError, ValidationError):
        return None
    return user if user is not None and user_key(user) == key else None
