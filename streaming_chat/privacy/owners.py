"""Whose: an owner as a command names them, by what they sign in with or by their owner key."""

from __future__ import annotations

import getpass
import os
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from streaming_chat.accounts.owners import user_key
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation


class Owner(NamedTuple):
    """user: None for a visitor, and for a user who is gone."""

    key: str
    user: Any = None

    @property
    def names(self) -> list[str]:
        """What staff may have sought them by: the key, its id, what they sign in with, the e-mail."""
        names = [self.key]
        if self.user is not None:
            names += [self.user.get_username(), getattr(self.user, self.user.get_email_field_name(), "")]
        return [str(name) for name in names if name]


def find(name: str) -> Owner:
    """Return the owner of this username, or of this key (u:<pk> or v:<hmac>). Raises LookupError for nobody.

    A user of whom the name looks like a key is named by their own key.
    """
    users = get_user_model()._default_manager.using(live_database())
    if name.startswith(("u:", "v:")):
        owned = Conversation.objects.using(live_database()).owned_by(name)
        first = owned.select_related("owner").first()
        user = first.owner if first is not None else None
        if user is None and name.startswith("u:"):
            user = _by_pk(users, name[2:])
        if first is None and user is None:
            raise LookupError(f"nobody has the owner key {name!r}.")
        return Owner(name, user)
    user = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
    if user is None:
        raise LookupError(f"there is no user {name!r}; visitors and deleted users are named by their owner key.")
    return Owner(user_key(user), user)


def _by_pk(users: Any, text: str) -> Any:
    try:
        return users.filter(pk=text).first()
    except (ValueError, OverflowError, ValidationError):
        return None


def account() -> str:
    """Return the operating system's account that this process runs under, for the access records of commands."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user without an entry in /etc/passwd.
        return f"uid {os.getuid()}"
