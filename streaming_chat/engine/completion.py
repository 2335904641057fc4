"""Closes replies: their ending in the database, once, whoever ends them.

Their worker does, the spool does later (journal.py), or anybody who sees that the worker died.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce, Now

from streaming_chat.db.hooks import SavedText, columns_on_change, texts_saved
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent, Status
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event
from streaming_chat.providers.pricing import cost_of
from streaming_chat.quotas import Reconciliation, get_quota, tokens_in
from streaming_chat.signals import announce, reply_ended


def end_reply(
    message_id: uuid.UUID,
    conversation_id: uuid.UUID,
    ending: Ending,
    received: Sequence[Event],
    *,
    using: str,
    worker: str = "",
    reconciliations: list[Reconciliation] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], int] | None:
    """Save a reply's ending, once; None when it had ended before, or `worker` does not hold it any more.

    Returns what its `end` event says, and the position where it ends for its owner.

    received: all its events without start and ending, merged. worker: whose claim it must be, "" when that was checked.
    reconciliations: collects what the quota is told, for a caller that ends several: call `reconcile_quota` with it, last
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
        input_tokens=F("input_tokens") + (fields.get("input_tokens") or 0),
        output_tokens=F("output_tokens") + (fields.get("output_tokens") or 0),
        **_spent(cost),
        **columns_on_change(went_wrong=ending.status in endings.EARLY),
    )
    texts_saved([SavedText(conversation_id, message_id, is_reply=True, text=text)], using)
    if reserved is not None:
        reconciliation = _reconciliation(reserved, ending, received, fields)
        if reconciliations is None:
            reconcile_quota([reconciliation], using)
        else:
            reconciliations.append(reconciliation)
    return endings.payload(ending, text, Message(**fields).usage), position if cut is None else cut


def _spent(cost: Decimal | None) -> dict[str, Any]:
    """Return what a reply's cost changes of its conversation: a sum of costs that are known."""
    return {} if cost is None else {"cost": Coalesce(F("cost"), Decimal(0)) + cost}


def reconcile_quota(reconciliations: Sequence[Reconciliation], using: str) -> None:
    """Tell the quota what replies used that have just ended. Last in the transaction: many share its rows."""
    if reconciliations and (quota := get_quota()):
        quota.settle(reconciliations, using)


def _reconciliation(reserved: Any, ending: Ending, received: Sequence[Event], fields: dict[str, Any]) -> Reconciliation:
    output = fields.get("output_tokens")
    if output is None:
        output = tokens_in(events.length(received))
    return Reconciliation(reserved, fields.get("input_tokens"), output, ending.status == endings.FAILED)


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
