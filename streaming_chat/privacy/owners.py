"""Finding an owner by what a command is given: a username or an owner key."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation


def find_owner(name: str) -> Owner:
    """Return the owner with this username, or with this key: u:<pk> of a user, v:<hmac> of a visitor.

    user is None for a visitor and for a deleted user. A user whose username looks like a key is named by their own key.
    Raises LookupError if there is no such owner.
    """
    if name.startswith(("u:", "v:")):
        return _find_by_key(name)
    users = get_user_model()._default_manager.using(live_database())
    user = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
    if user is None:
        raise LookupError(f"there is no user {name!r}; name visitors and deleted users by their owner key.")
    return Owner(user, user_key(user))


def _find_by_key(key: str) -> Owner:
    owned = Conversation.objects.using(live_database()).owned_by(key).select_related("owner").first()
    user = owned.owner if owned is not None else None
    if user is None and key.startswith("u:"):
        user = _user_with_pk(key.removeprefix("u:"))
    if owned is None and user is None:
        raise LookupError(f"nobody has the owner key {key!r}.")
    return Owner(user, key)


def _user_with_pk(text: str) -> Any:
    try:
        return get_user_model()._default_manager.using(live_database()).filter(pk=text).first()
    except (ValueError, OverflowError, ValidationError):
        return None
