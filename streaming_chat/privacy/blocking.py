"""Blocking an owner from chatting, and lifting the block: who did it, and when, is saved first."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models.functions import Now

from streaming_chat.accounts.blocks import is_blocked
from streaming_chat.accounts.owner_lookup import user_with_key
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import AccessRecord, BlockedOwner

from .audit import record

MAX_REASON_CHARS = 1_000


def block(owner_key: str, reason: str, by: Any) -> None:
    """Block an owner, or replace the reason of a block. by: the user of staff, or the name of the site's own code. Blocking.

    Raises ValueError without a reason, and for a key that is no owner's.
    """
    if not owner_key.startswith("v:") and user_with_key(owner_key) is None:
        raise ValueError(f"owner_key must be u:<pk> of a user, or v:… of a visitor, got {owner_key!r}.")
    if not reason.strip():
        raise ValueError("a block must have a reason, got none.")
    record(AccessRecord.Kind.BLOCK, by, owner_key=owner_key)
    name = by if isinstance(by, str) else str(by.get_username())
    blocked = BlockedOwner(owner_key=owner_key, reason=reason[:MAX_REASON_CHARS], by_name=name[:255], at=Now())
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


def unblock(owner_key: str, by: Any) -> bool:
    """Lift a block; return whether there was one. by: as in `block`. Blocking."""
    if not is_blocked(owner_key):
        return False
    record(AccessRecord.Kind.UNBLOCK, by, owner_key=owner_key)
    write_transaction(BlockedOwner.objects.using(live_database()).filter(pk=owner_key).delete)
    return True
