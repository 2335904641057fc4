"""Blocked owners: they may read, and send nothing. Workers stop the live replies of a blocked owner (engine/batch.py).

A block is of one owner key. A visitor who has signed in, or has dropped the cookie, is another owner.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models import CharField
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.statements import Argument, Query, Statement
from streaming_chat.db.transactions import write_transaction
from streaming_chat.exceptions import APIError
from streaming_chat.models import BlockedOwner

MAX_REASON_CHARS = 1_000


def require_not_blocked(owner_key: str, using: str) -> None:
    """Raise APIError 403 if the owner is blocked."""
    if _select.rows(using, owner_key=owner_key):
        raise APIError(403, "blocked")


def is_blocked(owner_key: str) -> bool:
    """Return whether an owner is blocked."""
    return bool(_select.rows(live_database(), owner_key=owner_key))


def block(owner_key: str, reason: str, by: Any) -> None:
    """Block an owner, or replace the reason of a block. by: the user of staff."""
    blocked = BlockedOwner(owner_key=owner_key, reason=reason, by_name=str(by.get_username())[:255], at=Now())
    # One statement, since two members of staff may do it at once.
    write_transaction(
        partial(
            BlockedOwner.objects.using(live_database()).bulk_create,
            [blocked],
            update_conflicts=True,
            unique_fields=["owner_key"],
            update_fields=["reason", "by_name", "at"],
        )
    )


def unblock(owner_key: str) -> None:
    """Lift a block."""
    write_transaction(BlockedOwner.objects.using(live_database()).filter(pk=owner_key).delete)


@Statement
def _select() -> Query:
    return BlockedOwner.objects.filter(pk=Argument("owner_key", CharField())).values_list("pk").order_by()
