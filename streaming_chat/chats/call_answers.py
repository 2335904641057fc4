"""Answers to the tool calls for which a reply waits. With the last one, the reply goes on in the process that took it.

Each answer is given once: the same one again changes nothing, and another one is refused. The rows of the calls keep them,
so that they outlive the process; nothing runs before the lease of the reply is this worker's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.http import HttpRequest

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.recovery import recover_abandoned, recover_reply
from streaming_chat.engine.run import Order
from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import APIError
from streaming_chat.logs import describe, logger
from streaming_chat.models import NOBODY, RECOVERED, Conversation, LiveReply, Message, ReplyEvent, ToolCall
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import APPROVAL

from .live_reply_limit import require_free_slot, take_slot
from .resumption import order_of, resumed_of

T = TypeVar("T")
_State = ToolCall.State
# Another request of the same owner may take the slot in between.
_SLOT_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True, repr=False)
class CallAnswer:
    """What a person, or a client, says to a call. Its repr is the default one: no text in logs.

    arguments: JSON text in place of the model's, None for these. output: what a client's tool returned, None for others.
    """

    call: str
    approved: bool = True
    arguments: str | None = None
    reason: str = ""
    output: str | None = None

    @property
    def kept(self) -> dict[str, Any]:
        """What the row of the call keeps, by which a repeated answer is compared."""
        told = {"approved": self.approved, "arguments": self.arguments, "reason": self.reason or None}
        # An empty output is one: without it, the call would be one that a person has allowed.
        return {name: value for name, value in {**told, "output": self.output}.items() if value is not None}

    @property
    def state(self) -> str:
        """The state of the call from now on."""
        if self.output is not None:
            return _State.OK
        return _State.APPROVED if self.approved else _State.DENIED


class _OrderNeeded(Exception):
    """With these answers the reply goes on, so the order of its run must be made first. Nothing was saved."""


class Answered(NamedTuple):
    """order: of the run with which the reply goes on; None if it still waits, or went on before."""

    order: Order | None


def answer_calls(
    request: HttpRequest, reply: Message, answers: Sequence[CallAnswer], worker: str, *, by: Any
) -> Answered:
    """Save answers to calls of a reply and, with the last one, lease the reply to `worker`. Blocking.

    The caller has checked who answers. reply: with its conversation. by: the user who answers, None for a visitor. Raises
    APIError: 409 for a call that was answered differently, or of a reply that waits no longer; 422, 429, 503. Then none of
    the answers is saved.
    """
    using = live_database()
    # One that has waited for too long ends first.
    recover_abandoned(LiveReply.objects.using(using).filter(pk=reply.pk, worker=NOBODY))
    _check_arguments(reply, answers, using)
    write = partial(_write, reply, answers, by, using)
    try:
        write_transaction(partial(write, worker=None), using=using)
    except _OrderNeeded:
        # Before the answer is saved, since the site's own code may fail; and in no transaction, since it may take seconds.
        order = _made_by_site(partial(order_of, request, reply), reply)
        return Answered(_go_on_with(order, partial(write, worker=worker), reply, using))
    return Answered(None)


def answer_for_staff(message_id: uuid.UUID, answers: Sequence[CallAnswer], *, by: Any) -> None:
    """Answer calls from outside of the owner's requests; the reply goes on in this process. Blocking.

    The caller has checked the permission `streaming_chat.answer_tool_call` of the user `by`. Raises as `answer_calls`, and
    Message.DoesNotExist.
    """
    using = live_database()
    reply = Message.objects.using(using).select_related("conversation__owner").get(pk=message_id)
    # As for a message that the site's own code sends: the prompt is the owner's.
    request = HttpRequest()
    request.user = reply.conversation.owner or AnonymousUser()
    if order := answer_calls(request, reply, answers, writer.worker, by=by).order:
        # With ATOMIC_REQUESTS, the writer does not see the lease before.
        transaction.on_commit(partial(runner.start_in_background, order), using=using)


def go_on(message_id: uuid.UUID) -> None:
    """Go on in this process with a reply that waits for nothing any more: its worker died. Blocking. Raises nothing."""
    using = live_database()
    try:
        answer_for_staff(message_id, (), by=None)
    except Exception as error:  # noqa: BLE001  (no slot, a shutdown, a model that is gone: it ends with what it has)
        logger.error("Reply %s could not be gone on with: %s", message_id, describe(error))
        # As a reply whose worker has died: nobody has let the time for an answer pass.
        waiting = LiveReply.objects.using(using).filter(pk=message_id, worker=NOBODY)
        changes = {"worker": RECOVERED, "expires_at": LiveReply.expired_lease()}
        if write_transaction(partial(waiting.update, **changes), using=using):
            recover_reply(LiveReply.objects.using(using).get(pk=message_id))


def _go_on_with(order: Order, write: Callable[[], bool], reply: Message, using: str) -> Order | None:
    """Save the answers and lease the reply; return the whole order. None if another request has done so meanwhile."""
    with runner.expecting(reply.pk):
        if not _with_slot(write, reply, using):
            runner.expect_no_longer(reply.pk)
            return None
        try:
            return order._replace(resumed=resumed_of(reply, using))
        except BaseException:
            # It ends with what it has, and with a result for every call.
            live = LiveReply.objects.using(using).filter(pk=reply.pk)
            write_transaction(partial(live.update, expires_at=LiveReply.expired_lease()), using=using)
            recover_reply(live.get())
            raise


def _made_by_site(make: Callable[[], T], reply: Message) -> T:
    """Return what the site's code and settings make. Raises APIError 503 if they cannot, and what the database raises."""
    try:
        return make()
    except Exception as error:
        if isinstance(error, APIError) or is_away(error):
            raise
        ref = uuid.uuid4().hex[:12]
        logger.error("Reply %s cannot go on after an answer; ref %s: %s", reply.pk, ref, describe(error))
        raise APIError(503, "cannot_go_on", ref=ref) from None


def _with_slot(write: Callable[[], bool], reply: Message, using: str) -> bool:
    """Return whether the reply goes on in this process."""
    for _attempt in range(_SLOT_ATTEMPTS):
        try:
            return write_transaction(write, using=using)
        except IntegrityError:
            require_free_slot(reply.conversation.owner_key, using)
    raise APIError(429, "too_many_replies", retry_after=1)


def _write(reply: Message, answers: Sequence[CallAnswer], by: Any, using: str, *, worker: str | None) -> bool:
    """Save the answers; return whether they were the last ones, and the reply is this worker's now.

    worker: None raises _OrderNeeded if they are.
    """
    # The write is the lock (see models/conversations.py).
    Conversation.objects.using(using).filter(pk=reply.conversation_id).update(last_activity=Now())
    live = LiveReply.objects.using(using).filter(pk=reply.pk, worker=NOBODY, expires_at__gte=Now(), stop=None)
    is_waiting = bool(live.update(followed_until=None))
    rows = {row.call_id: row for row in ToolCall.objects.using(using).filter(message=reply)}
    asked = asked_calls(reply.pk, using)
    for answer in answers:
        _answer(rows.get(answer.call), asked.get(answer.call), answer, by, is_waiting=is_waiting, using=using)
    is_last = ToolCall.objects.using(using).filter(message=reply, status=_State.WAITING).first() is None
    if not (is_waiting and is_last):
        return False
    if worker is None:
        raise _OrderNeeded
    take_slot(live, reply, worker)
    Message.objects.using(using).filter(pk=reply.pk).update(status=endings.STREAMING)
    Conversation.objects.using(using).filter(pk=reply.conversation_id).update(last_status=endings.STREAMING)
    return True


def _answer(
    row: ToolCall | None,
    asked: Mapping[str, Any] | None,
    answer: CallAnswer,
    by: Any,
    *,
    is_waiting: bool,
    using: str,
) -> None:
    """Save one answer. Raises APIError."""
    if row is None or (row.answer is None and row.status != _State.WAITING and is_waiting):
        raise _invalid("Each call must be one that waits for an answer.")
    if row.answer is not None:
        if row.answer != answer.kept:
            raise APIError(409, "already_answered", call=row.call_id)
        return
    if not is_waiting or asked is None:
        raise APIError(409, "not_waiting", call=row.call_id)
    _require_fitting(asked, answer)
    changes = {"status": answer.state, "answer": answer.kept, "by": by, "answered_at": Now()}
    ToolCall.objects.using(using).filter(pk=row.pk).update(**changes)


def _require_fitting(asked: Mapping[str, Any], answer: CallAnswer) -> None:
    is_of_client = asked["runs"] == "client"
    if answer.output is not None and not is_of_client:
        raise _invalid("Only a client's tool has an output.")
    if answer.output is None and is_of_client and answer.approved:
        raise _invalid("A client's tool must have an output, unless it is not approved.")
    if answer.arguments is not None and not (asked["editable"] and answer.approved):
        raise _invalid("The arguments of this call cannot be changed.")


def _check_arguments(reply: Message, answers: Sequence[CallAnswer], using: str) -> None:
    """Raise APIError 422 for changed arguments that do not fit their tool."""
    changed = {answer.call: answer.arguments for answer in answers if answer.arguments is not None}
    if not changed:
        return
    from streaming_chat.tools import InvalidArguments, ToolContext, tools_for

    conversation = reply.conversation
    context = ToolContext(
        user_id=conversation.owner_id,
        owner_key=conversation.owner_key,
        conversation_id=conversation.pk,
        message_id=reply.pk,
    )
    tools = _made_by_site(partial(async_to_sync(tools_for), reply.model, context), reply)
    rows = ToolCall.objects.using(using).filter(message=reply, call_id__in=changed)
    for call_id, name in rows.values_list("call_id", "name"):
        try:
            if (tool := tools.get(name)) is not None:
                tool.parse(changed[call_id])
        except InvalidArguments as error:
            raise _invalid(str(error)) from None


def asked_calls(message_id: uuid.UUID, using: str) -> dict[str, Mapping[str, Any]]:
    """Return the calls for which a reply waits, as its last `approval` event lists them, by their ids."""
    events = ReplyEvent.objects.using(using).filter(message_id=message_id, kind=APPROVAL).order_by("-position")
    payload = events.values_list("payload", flat=True).first()
    return {call["id"]: call for call in payload["calls"]} if payload else {}


def _invalid(text: str) -> APIError:
    return APIError(422, "invalid", fields={"answers": text})


def output_text(output: Any) -> str:
    """Return what a client's tool returned, as text for the model, cut off as that of other tools is."""
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    longest = conf.STREAMING_CHAT_MAX_TOOL_OUTPUT_CHARS
    return text if len(text) <= longest else f"{text[:longest]}\n[The output was cut off.]"
