"""Blocked owners: they may read, and send nothing. Workers stop the live replies of a blocked owner (engine/batch.py).

privacy/blocking.py blocks and unblocks. A block is of one owner key: a visitor who has signed in, or has dropped the
cookie, is another owner.
"""

from __future__ import annotations

from django.db.models import CharField

from streaming_chat.db.alias import live_database
from streaming_chat.db.statements import Argument, Query, Statement
from streaming_chat.exceptions import APIError
from streaming_chat.models import BlockedOwner


def require_not_blocked(owner_key: str, using: str) -> None:
    """Raise APIError 403 if the owner is blocked."""
    if _select.rows(using, owner_key=owner_key):
        raise APIError(403, "blocked")


def is_blocked(owner_key: str) -> bool:
    """Return whether an owner is blocked."""
    return bool(_select.rows(live_database(), owner_key=owner_key))


@Statement
def _select() -> Query:
    return BlockedOwner.objects.filter(pk=Argument("owner_key", CharField())).values_list("pk").order_by()
