"""Closes replies: their ending in the database, once, whoever ends them.

Their worker does, the spool does later (spool.py), or anybody who sees that the worker died.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from . import endings, events
from .endings import Ending
from .events import Event
from .locks import bounded_lock_wait
from .models import Conversation, LiveReply, Message, ReplyEvent, Status, live_database
from .outages import is_locked
from .quotas import Settlement, get_quota, tokens_in
from .signals import announce, reply_ended
from .staff import texts
from .staff.judgements import reopened
from .staff.prices import cost_of
from .tails import get_tail


def settle_reply(live: LiveReply, lock_seconds: float = 2.0) -> bool:
    """End a reply whose worker died, with what was saved of it; False when its worker lives or another settled it.

    One transaction for one reply. A killed reply is never run again: it would be billed twice. False also when a
    worker that is paused in a transaction holds its rows for longer than this.
    """
    try:
        return _settle(live, lock_seconds)
    except OperationalError as error:
        if is_locked(error):
            return False
        raise


def _settle(live: LiveReply, lock_seconds: float) -> bool:
    using = live_database()
    with transaction.atomic(using=using), bounded_lock_wait(using, lock_seconds):
        Conversation.objects.using(using).filter(pk=live.conversation_id).update(last_activity=Now())
        # Pushed ahead rather than locked, so that the same statement takes it on both databases.
        taken = LiveReply.objects.using(using).expired().filter(pk=live.pk)
        if not taken.update(expires_at=LiveReply.lease(), worker="settled"):
            return False
        row = LiveReply.objects.using(using).get(pk=live.pk)
        received = ReplyEvent.objects.using(using).stream(live.pk)
        if row.stop:
            ending = endings.stopped(row.stop, row.stop_position)
        else:
            ending = endings.broken("lease_expired", received=bool(received))
        ended = end_reply(live.pk, live.conversation_id, ending, received, using=using)
        if ended is None:
            return False
        get_tail().tell(using, [live.pk])
        told = partial(announce_end, live.pk, live.conversation_id, ending.status, ending.end_reason)
        transaction.on_commit(told, using=using)
        return True


def end_reply(
    message_id: uuid.UUID,
    conversation_id: uuid.UUID,
    ending: Ending,
    received: Sequence[Event],
    *,
    using: str,
    worker: str = "",
    settlements: list[Settlement] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], int] | None:
    """Save a reply's ending, once; None when it had ended before, or `worker` does not hold it any more.

    Returns what its `end` event says, and the position where it ends for its owner.

    received: all its events without start and ending, merged. worker: whose claim it must be, "" when that was checked.
    settlements: where to collect what the quota is to be told, by who ends several: call `settle_quota` with them, last
    of all. fields: further columns of its message; with its model and exact usage it gets a cost. Call inside a transaction
    that holds the conversation's lock.
    """
    live = LiveReply.objects.using(using).filter(pk=message_id)
    reserved = live.values_list("reserved", flat=True).first() if get_quota() else None
    if not (live.filter(worker=worker) if worker else live).remove() and worker:
        return None
    position = 1 + events.length(received)
    cut = ending.cut_position
    if cut is not None:
        cut = None if cut >= position else max(cut, 1)
    text = events.text_of(received if cut is None else events.before(received, cut, 1))
    cost = cost_of(fields.get("model", ""), fields)
    messages = Message.objects.using(using).filter(pk=message_id, status=Status.STREAMING)
    ended = messages.update(
        status=ending.status,
        end_reason=ending.end_reason,
        error_code=ending.error_code,
        ref=ending.ref,
        cut_position=cut,
        position=position,
        text=text,
        parts=events.to_parts(received),
        ended_at=Now(),
        cost=cost,
        **fields,
    )
    ReplyEvent.objects.using(using).filter(message_id=message_id).remove()
    if not ended:
        return None
    Conversation.objects.using(using).filter(pk=conversation_id).update(
        last_status=ending.status,
        last_activity=Now(),
        review_state=reopened(),
        # Of an ordinary ending it stays as it was.
        **({"needs_attention": True} if ending.status in endings.EARLY else {}),
        input_tokens=F("input_tokens") + (fields.get("input_tokens") or 0),
        output_tokens=F("output_tokens") + (fields.get("output_tokens") or 0),
        **_spent(cost),
    )
    texts.add([texts.Text(conversation_id, message_id, is_reply=True, text=text)], using)
    if reserved is not None:
        settlement = _settlement(reserved, ending, received, fields)
        if settlements is None:
            settle_quota([settlement], using)
        else:
            settlements.append(settlement)
    return endings.payload(ending, text, Message(**fields).usage), position if cut is None else cut


def _spent(cost: Decimal | None) -> dict[str, Any]:
    """Return what a reply's cost changes of its conversation: a sum of costs that are known."""
    return {} if cost is None else {"cost": Coalesce(F("cost"), Decimal(0)) + cost}


def settle_quota(settlements: Sequence[Settlement], using: str) -> None:
    """Tell the quota what replies used that have just ended. Last in the transaction: many share its rows."""
    if settlements and (quota := get_quota()):
        quota.settle(settlements, using)


def _settlement(reserved: Any, ending: Ending, received: Sequence[Event], fields: dict[str, Any]) -> Settlement:
    output = fields.get("output_tokens")
    if output is None:
        output = tokens_in(events.length(received))
    return Settlement(reserved, fields.get("input_tokens"), output, ending.status == endings.FAILED)


def announce_end(message_id: uuid.UUID, conversation_id: uuid.UUID, status: str, end_reason: str) -> None:
    """Send `reply_ended`, after its commit."""
    announce(
        reply_ended,
        Message,
        message=message_id,
        conversation=conversation_id,
        status=status,
        end_reason=end_reason,
    )
