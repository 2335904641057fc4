"""Ends a reply in the database, once, whichever process ends it.

Its worker does so, the journal later, or a process that recovers the reply of a dead worker.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, partial
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeAlias

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F, Model
from django.db.models.functions import Coalesce, Now

from streaming_chat.conf import conf
from streaming_chat.db.hooks import SavedText, columns_on_change, texts_saved
from streaming_chat.db.statements import Argument, Query, Statement, delete, update
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, LiveReply, Message, ProviderState, ReplyEvent, Status, usage_of
from streaming_chat.notifiers import get_notifier
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event
from streaming_chat.providers.pricing import cost_of
from streaming_chat.quotas import Reconciliation, get_quota, tokens_in
from streaming_chat.signals import announce, reply_ended

from . import tool_rows


@dataclass(frozen=True, repr=False)
class Completion:
    """The end of one reply, with everything that is saved of it. Its repr is the default one: no text in logs.

    worker: whose lease it must be. received: all its events without start and ending, merged. fields: further columns of
    its message; a model and exact usage give it a cost. has_saved_events: whether there may be rows of its events to delete.
    provider_states: JSON of the provider's opaque states, by the number of its call.
    """

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    worker: str
    ending: Ending
    received: Sequence[Event]
    fields: dict[str, Any] = field(default_factory=dict)
    has_saved_events: bool = True
    provider_states: Mapping[int, str] = field(default_factory=dict)

    def with_ending(self, ending: Ending) -> Completion:
        """Return the same with another ending; only a completed reply has an object."""
        fields = dict(self.fields)
        if "output_error" in fields and ending.status != endings.COMPLETED:
            fields["output_error"] = ""
        return replace(self, ending=ending, fields=fields)

    @cached_property
    def length(self) -> int:
        """The reply's units, with the start."""
        return 1 + events.length(self.received)

    @cached_property
    def weight(self) -> int:
        """Its weight in memory."""
        return events.weight(self.received) + sum(map(len, self.provider_states.values()))

    @cached_property
    def has_steps(self) -> bool:
        """Whether tools of the site may have been called."""
        return any(event.kind == events.STEP for event in self.received)

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
        output_error = self.fields.get("output_error", "") if self.fields.get("output_name") else None
        return endings.payload(
            self.ending, self.text, usage_of(self.fields), output_error, self.fields.get("model", "")
        )


class Ended(NamedTuple):
    """What the transaction that ended a reply does last; see `finish_transaction`."""

    message_id: uuid.UUID
    reconciliation: Reconciliation | None


class LeaseLost(Exception):
    """Some of the replies are no longer live, or not this worker's, so none of the endings was saved."""


def end_reply(completion: Completion, using: str) -> None:
    """Save a reply's ending, tell followers, and send `reply_ended` after the commit. Raises LeaseLost.

    Call it as the last statement of a transaction.
    """
    finish_transaction(save_endings([completion], using), using)
    announced = partial(announce_end, completion.message_id, completion.conversation_id, completion.payload)
    transaction.on_commit(announced, using=using)


def save_endings(completions: Iterable[Completion], using: str) -> list[Ended]:
    """Save the endings of these replies; the caller calls `finish_transaction` for all. Raises LeaseLost.

    The transaction is lost with a LeaseLost: the conversations are written before the leases are checked, since a write is
    also the lock that comes first. Two processes that end replies of the same conversations lock them in one order.
    """
    completions = sorted(completions, key=attrgetter("conversation_id"))
    _execute(_update_conversation, map(_conversation_columns, completions), using)
    reserved = _reserved_of(completions, using)
    owned = [({"message_id": each.message_id, "worker": each.worker}, ()) for each in completions]
    if _execute(_delete_lease, owned, using) < len(completions):
        raise LeaseLost
    _execute(_update_message, map(_message_columns, completions), using)
    saved = [({"message_id": each.message_id}, ()) for each in completions if each.has_saved_events]
    _execute(_delete_events, saved, using)
    for each in completions:
        save_provider_states(each.message_id, each.provider_states, using)
        if each.has_steps:
            tool_rows.save_events(each.message_id, each.received, 0, using)
    texts = [SavedText(each.conversation_id, each.message_id, is_reply=True, text=each.text) for each in completions]
    texts_saved(texts, using)
    return [Ended(each.message_id, _reconciliation(each, reserved)) for each in completions]


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


# The arguments of one use of a statement, and its shape.
Use: TypeAlias = tuple[dict[str, Any], tuple[Any, ...]]


def _execute(statement: Statement, uses: Iterable[Use], using: str) -> int:
    """Execute a statement once for each, in their order; return the number of rows."""
    return sum(
        statement.execute_many(using, [arguments for arguments, _shape in neighbours], *shape)
        for shape, neighbours in groupby(uses, key=itemgetter(1))
    )


@Statement
def _update_conversation(needs_attention: bool, has_cost: bool) -> Query:
    # The sum of the costs that are known.
    cost = {"cost": Coalesce(F("cost"), Decimal(0)) + _argument(Conversation, "cost")} if has_cost else {}
    return update(
        Conversation.objects.filter(pk=_argument(Conversation, "id")),
        last_status=_argument(Conversation, "last_status"),
        last_activity=Now(),
        input_tokens=F("input_tokens") + _argument(Conversation, "input_tokens"),
        output_tokens=F("output_tokens") + _argument(Conversation, "output_tokens"),
        **cost,
        **columns_on_change(needs_attention=needs_attention),
    )


def _conversation_columns(completion: Completion) -> Use:
    columns = {
        "id": completion.conversation_id,
        "last_status": completion.ending.status,
        "input_tokens": completion.fields.get("input_tokens") or 0,
        "output_tokens": completion.fields.get("output_tokens") or 0,
        "cost": completion.cost,
    }
    return columns, (completion.ending.status in conf.STREAMING_CHAT_REVIEW_REASONS, completion.cost is not None)


@Statement
def _delete_lease() -> Query:
    mine = {name: _argument(LiveReply, name) for name in ("message_id", "worker")}
    return delete(LiveReply.objects.filter(**mine))


@Statement
def _update_message(*names: str) -> Query:
    live = Message.objects.filter(pk=_argument(Message, "id"), status__in=(Status.STREAMING, Status.WAITING))
    return update(live, ended_at=Now(), **{name: _argument(Message, name) for name in names})


def _message_columns(completion: Completion) -> Use:
    ending = completion.ending
    parts = events.to_parts(completion.received)
    columns = {
        "status": ending.status,
        "end_reason": ending.end_reason,
        "error_code": ending.error_code,
        "ref": ending.ref,
        "cut_position": completion.cut_position,
        "position": completion.length,
        "text": completion.text,
        "parts": parts,
        "has_more_than_text": events.has_more_than_text(parts),
        "cost": completion.cost,
        **completion.fields,
    }
    return {"id": completion.message_id, **columns}, tuple(columns)


@Statement
def _delete_events() -> Query:
    return delete(ReplyEvent.objects.filter(message_id=_argument(ReplyEvent, "message_id")))


def save_provider_states(message_id: uuid.UUID, states: Mapping[int, str], using: str) -> None:
    """Save the provider's opaque states, by the number of its call."""
    if states:
        rows = [ProviderState(message_id=message_id, call=call, state=state) for call, state in states.items()]
        ProviderState.objects.using(using).bulk_create(rows, ignore_conflicts=True)


def _argument(model: type[Model], name: str) -> Argument:
    """Return an argument for a column, with its name."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    return Argument(name, fields[name])


def _reserved_of(completions: Iterable[Completion], using: str) -> dict[uuid.UUID, Any]:
    """Return what each reply has reserved of the quota, if there is one."""
    if not get_quota():
        return {}
    lives = LiveReply.objects.using(using).filter(pk__in=[each.message_id for each in completions])
    return dict(lives.values_list("pk", "reserved"))


def _reconciliation(completion: Completion, reserved: Mapping[uuid.UUID, Any]) -> Reconciliation | None:
    reservation = reserved.get(completion.message_id)
    if reservation is None:
        return None
    fields = completion.fields
    output = fields.get("output_tokens")
    # Without what a continuation has taken over, and what the site has added.
    sources = sum(event.kind == events.SOURCE for event in completion.received)
    received = completion.length - (fields.get("continued_at") or 1) - sources
    if output is None:
        output = tokens_in(received)
    # A model that only reasoned is paid for.
    is_void = completion.ending.status in (endings.FAILED, endings.INTERRUPTED) and not (received or output)
    return Reconciliation(reservation, fields.get("input_tokens"), output, is_void)


def _notify(message_ids: Sequence[uuid.UUID], using: str) -> None:
    """Tell followers of these replies. A notifier that fails without the database costs them time, not the reply."""
    try:
        get_notifier().notify_on_commit(using, message_ids)
    except (DatabaseError, InterfaceError):
        # The transaction is lost with it.
        raise
    except Exception as error:  # noqa: BLE001  (a site's own notifier)
        logger.error("The notifier failed; followers see new events later: %s", describe(error))
