"""The row that makes a reply live: its lease, and one of its owner's slots."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from django.db.models import DurationField, IntegerField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from streaming_chat.accounts.blocks import require_not_blocked
from streaming_chat.conf import conf
from streaming_chat.db.statements import Argument, Query, Statement, insertion
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import BlockedOwner, LiveReply, LiveReplyQuerySet, Message

# One of these is tried first, however high the limit: as many as simultaneous requests can need.
_FIRST_SLOTS = 1_000
# A free slot, found by the INSERT itself: the given one, the lowest, or one after a slot in use. Among these is always a
# free one, unless the owner has none left: then the constraint refuses a slot in use. A blocked owner gets none, which the
# database refuses, too: so neither limit takes a statement of its own.
_FREE_SLOT = """
SELECT slot FROM (
    SELECT %s AS slot, 0 AS place
    UNION ALL SELECT 0, 1
    UNION ALL SELECT {slot} + 1, 1 FROM {table} WHERE {owner_key} = %s
) candidate
WHERE slot < %s AND NOT EXISTS (SELECT 1 FROM {blocked} WHERE {blocked_key} = %s)
ORDER BY slot IN (SELECT {slot} FROM {table} WHERE {owner_key} = %s AND {slot} IS NOT NULL), place, RANDOM() LIMIT 1
"""
_COLUMNS = {field.name: f'"{field.column}"' for field in LiveReply._meta.concrete_fields}
_FREE_SLOT_SQL = _FREE_SLOT.format(
    table=f'"{LiveReply._meta.db_table}"',
    blocked=f'"{BlockedOwner._meta.db_table}"',
    blocked_key=f'"{BlockedOwner._meta.pk.column}"',
    **_COLUMNS,
)


def insert_live_reply(reply: Message, owner_key: str, worker: str, reserved: Any, using: str) -> None:
    """Insert the row of a reply that `worker` writes. reserved: what its quota has reserved.

    Raises IntegrityError if another reply has the slot, or the owner is blocked: see `require_free_slot`. Raises APIError
    503 if this process takes no new replies.
    """
    limit = conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER
    _insert.execute(
        using,
        message_id=reply.pk,
        conversation_id=reply.conversation_id,
        owner_key=owner_key,
        # Any of them: simultaneous requests would all collide at the lowest.
        first_slot=random.randrange(min(limit, _FIRST_SLOTS)),  # noqa: S311  (a free slot, not a secret)
        limit=limit,
        worker=worker,
        lease=timedelta(seconds=conf.STREAMING_CHAT_LEASE_SECONDS),
        reserved=reserved,
    )
    _require_room(reply)


def take_slot(live: LiveReplyQuerySet, reply: Message, worker: str) -> None:
    """Lease a reply that has waited to `worker`, in one of its owner's slots. Raises as `insert_live_reply`."""
    limit, owner_key = conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER, reply.conversation.owner_key
    first_slot = random.randrange(min(limit, _FIRST_SLOTS))  # noqa: S311  (a free slot, not a secret)
    slot = RawSQL(f"({_FREE_SLOT_SQL})", (first_slot, owner_key, limit, owner_key, owner_key))  # noqa: S611  (names and places)
    # The owner may be another one than when it began: a visitor who has signed in.
    live.update(owner_key=owner_key, worker=worker, expires_at=LiveReply.lease(), slot=slot)
    _require_room(reply)


def require_free_slot(owner_key: str, using: str) -> None:
    """Raise APIError 403 if the owner is blocked, 429 if the owner has no slot left."""
    require_not_blocked(owner_key, using)
    limit = conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER
    if LiveReply.objects.using(using).filter(owner_key=owner_key, slot__lt=limit).count() >= limit:
        raise APIError(429, "too_many_replies", retry_after=1)


@Statement
def _insert() -> Query:
    """A constraint of the database, one reply for each slot, holds the limit."""
    names = ("message_id", "conversation_id", "owner_key", "worker", "reserved")
    fields = [field for field in LiveReply._meta.concrete_fields if field.attname in names]
    values = {field.attname: Argument(field.attname, field) for field in fields}
    first_slot, limit = Argument("first_slot", IntegerField()), Argument("limit", IntegerField())
    owner_key = values["owner_key"]
    slot = RawSQL(_FREE_SLOT_SQL, (first_slot, owner_key, limit, owner_key, owner_key))  # noqa: S611  (names and places)
    return insertion([LiveReply(**values, slot=slot, expires_at=Now() + Argument("lease", DurationField()))])


def _require_room(reply: Message) -> None:
    # After the idempotency check and the limit: a repeated request finds its reply in a process that is full, too.
    if runner.is_draining:
        raise APIError(503, "draining", retry_after=5)
    if not runner.has_room_for(reply.pk):
        raise APIError(503, "full", retry_after=5)
