"""Ends a reply in the database, once, whichever process ends it.

Its worker does so, the journal later, or a process that recovers the reply of a dead worker.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from streaming_chat.db.hooks import SavedText, columns_on_change, texts_saved
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent, Status
from streaming_chat.notifiers import get_notifier
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event
from streaming_chat.providers.pricing import cost_of
from streaming_chat.quotas import Reconciliation, get_quota, tokens_in
from streaming_chat.signals import announce, reply_ended


@dataclass(frozen=True, repr=False)
class Completion:
    """The end of one reply, with everything that is saved of it. Its repr is the default one: no text in logs.

    received: all its events without start and ending, merged. fields: further columns of its message; a model and exact
    usage give it a cost. worker: whose lease it must be; "" if that was checked before. has_saved_events: whether there
    may be rows of its events to delete.
    """

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    ending: Ending
    received: Sequence[Event]
    fields: dict[str, Any] = field(default_factory=dict)
    worker: str = ""
    has_saved_events: bool = True

    def with_ending(self, ending: Ending) -> Completion:
        """Return the same with another ending."""
        return replace(self, ending=ending)

    @cached_property
    def length(self) -> int:
        """The reply's units, with the start."""
        return 1 + events.length(self.received)

    @cached_property
    def weight(self) -> int:
        """Its weight in memory."""
        return events.weight(self.received)

    @property
    def cut_position(self) -> int | None:
        """Where a stop cuts the reply; None if it asked for a position beyond the text."""
        cut = self.ending.cut_position
        return None if cut is None or cut >= self.length else max(cut, 1)

    @property
    def end_position(self) -> int:
        """Where the reply ends for its owner."""
        return self.length if self.cut_position is None else self.cut_position

    @cached_property
    def text(self) -> str:
        """The text as its owner sees it."""
        shown = self.received if self.cut_position is None else events.before(self.received, self.cut_position, 1)
        return events.text_of(shown)

    @cached_property
    def cost(self) -> Decimal | None:
        """What it cost, if that is known."""
        return cost_of(self.fields.get("model", ""), self.fields)

    @cached_property
    def payload(self) -> dict[str, Any]:
        """What the stream's `end` event says."""
        return endings.payload(self.ending, self.text, Message(**self.fields).usage)


class Ended(NamedTuple):
    """What the transaction that ended a reply does last; see `finish_transaction`."""

    message_id: uuid.UUID
    reconciliation: Reconciliation | None


def end_reply(completion: Completion, using: str) -> bool:
    """Save a reply's ending, once, tell followers, and send `reply_ended` after the commit.

    False if it had ended before, or its worker does not hold the lease any more. Call inside a transaction that holds the
    conversation's lock, as its last statement.
    """
    ended = save_ending(completion, using)
    if ended is None:
        return False
    finish_transaction([ended], using)
    announced = partial(announce_end, completion.message_id, completion.conversation_id, completion.payload)
    transaction.on_commit(announced, using=using)
    return True


def save_ending(completion: Completion, using: str) -> Ended | None:
    """Save a reply's ending, as `end_reply`, for a caller that ends several: it calls `finish_transaction` for all."""
    live = LiveReply.objects.using(using).filter(pk=completion.message_id)
    reserved = live.values_list("reserved", flat=True).first() if get_quota() else None
    mine = live.filter(worker=completion.worker) if completion.worker else live
    if not mine.remove() and completion.worker:
        return None
    is_saved = _update_message(completion, using)
    if completion.has_saved_events:
        ReplyEvent.objects.using(using).filter(message_id=completion.message_id).remove()
    if not is_saved:
        return None
    _update_conversation(completion, using)
    saved = SavedText(completion.conversation_id, completion.message_id, is_reply=True, text=completion.text)
    texts_saved([saved], using)
    return Ended(completion.message_id, None if reserved is None else _reconciliation(reserved, completion))


def finish_transaction(ended: Iterable[Ended], using: str, *, also_notify: Iterable[uuid.UUID] = ()) -> None:
    """Tell followers and reconcile the quota, in this order, last in the transaction: many share the quota's rows.

    also_notify: replies that have not ended and have new events.
    """
    message_ids = [*also_notify]
    reconciliations = []
    for message_id, reconciliation in ended:
        message_ids.append(message_id)
        if reconciliation is not None:
            reconciliations.append(reconciliation)
    if message_ids:
        _notify(message_ids, using)
    if reconciliations and (quota := get_quota()):
        quota.reconcile(reconciliations, using)


def announce_end(message_id: uuid.UUID, conversation_id: uuid.UUID, payload: Mapping[str, Any]) -> None:
    """Send `reply_ended`, after the commit. payload: of the `end` event."""
    announce(
        reply_ended,
        Message,
        message=message_id,
        conversation=conversation_id,
        status=payload["status"],
        end_reason=payload["end_reason"],
    )


def is_same_ending(one: Ending, other: Ending) -> bool:
    """Return whether these are one ending; a cut beyond the text is saved as none."""
    return replace(one, cut_position=None) == replace(other, cut_position=None)


def _update_message(completion: Completion, using: str) -> bool:
    """Write the finished message; False if it had ended before."""
    ending, fields = completion.ending, completion.fields
    live = Message.objects.using(using).filter(pk=completion.message_id, status=Status.STREAMING)
    updated = live.update(
        status=ending.status,
        end_reason=ending.end_reason,
        error_code=ending.error_code,
        ref=ending.ref,
        cut_position=completion.cut_position,
        position=completion.length,
        text=completion.text,
        parts=events.to_parts(completion.received),
        ended_at=Now(),
        cost=completion.cost,
        **fields,
    )
    return bool(updated)


def _update_conversation(completion: Completion, using: str) -> None:
    status, fields = completion.ending.status, completion.fields
    # The sum of the costs that are known.
    cost = {} if completion.cost is None else {"cost": Coalesce(F("cost"), Decimal(0)) + completion.cost}
    Conversation.objects.using(using).filter(pk=completion.conversation_id).update(
        last_status=status,
        last_activity=Now(),
        input_tokens=F("input_tokens") + (fields.get("input_tokens") or 0),
        output_tokens=F("output_tokens") + (fields.get("output_tokens") or 0),
        **cost,
        **columns_on_change(went_wrong=status in endings.EARLY),
    )


def _reconciliation(reserved: Any, completion: Completion) -> Reconciliation:
    fields = completion.fields
    output = fields.get("output_tokens")
    # Without what a continuation has taken over.
    received = completion.length - (fields.get("continued_at") or 1)
    if output is None:
        output = tokens_in(received)
    # A model that only reasoned is paid for.
    is_void = completion.ending.status in (endings.FAILED, endings.INTERRUPTED) and not (received or output)
    return Reconciliation(reserved, fields.get("input_tokens"), output, is_void)


def _notify(message_ids: Sequence[uuid.UUID], using: str) -> None:
    """Tell followers of these replies. A notifier that fails without the database costs them time, not the reply."""
    try:
        get_notifier().notify_on_commit(using, message_ids)
    except (DatabaseError, InterfaceError):
        # The transaction is lost with it.
        raise
    except Exception as error:  # noqa: BLE001  (a site's own notifier)
        logger.error("The notifier failed; followers see new events later: %s", describe(error))
