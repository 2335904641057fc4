"""Owners: the key under which a user or a visitor owns conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .visitors import visitor_key

if TYPE_CHECKING:
    from django.http import HttpRequest


def user_key(user: Any) -> str:
    """Return the owner key of a user."""
    return f"u:{user.pk}"


def request_key(request: HttpRequest) -> str:
    """Return the owner key of the request's user or visitor, "" for neither."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return user_key(user) if user.is_active else ""
    return visitor_key(request)


class Owner(NamedTuple):
    """The user or visitor of a request.

    user: None for a visitor. key: as Conversation.owner_key, "" before a visitor has an id.
    """

    user: Any
    key: str
