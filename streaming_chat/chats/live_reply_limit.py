"""The row that makes a reply live: its lease, and one of its owner's slots."""

from __future__ import annotations

import random
from typing import Any

from streaming_chat.conf import conf
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import LiveReply, Message


def insert_live_reply(reply: Message, owner_key: str, worker: str, reserved: Any, using: str) -> None:
    """Insert the row of a reply that `worker` writes. reserved: what its quota has reserved.

    Raises APIError: 429 if the owner has no slot left, 503 if this process takes no new replies.
    """
    slot = _free_slot(owner_key, using)
    _require_room(reply)
    live = LiveReply(
        message=reply,
        conversation_id=reply.conversation_id,
        owner_key=owner_key,
        slot=slot,
        worker=worker,
        expires_at=LiveReply.lease(),
        reserved=reserved,
    )
    LiveReply.objects.using(using).bulk_create([live])


def _free_slot(owner_key: str, using: str) -> int:
    """Return a free slot; a constraint of the database, one reply for each slot, holds the limit."""
    used = set(LiveReply.objects.using(using).filter(owner_key=owner_key).values_list("slot", flat=True))
    # As many as simultaneous requests can need, however high the limit.
    slots = range(min(conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER, 2 * len(used) + 64))
    free = [slot for slot in slots if slot not in used]
    if not free:
        raise APIError(429, "too_many_replies", retry_after=1)
    # Any of them: simultaneous requests would all collide at the lowest.
    return random.choice(free)  # noqa: S311  (a free slot, not a secret)


def _require_room(reply: Message) -> None:
    # After the idempotency check: a repeated request finds its reply in a process that is full, too.
    if runner.is_draining:
        raise APIError(503, "draining", retry_after=5)
    if not runner.has_room_for(reply.pk):
        raise APIError(503, "full", retry_after=5)
