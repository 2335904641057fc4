"""The rows of tool calls: kept in step with the events, in the transactions that save these.

Each function is called under the lock of the reply's lease, after the reply's own rows, and only for replies with tools.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.models import NOBODY, Conversation, LiveReply, Message, ToolCall
from streaming_chat.protocol import endings, tool_calls
from streaming_chat.protocol.events import STEP, TOOL_CALL, TOOL_RESULT, Event

from .call_log import NotedCall

_State = ToolCall.State
# By a person, or by the policy if the call has begun to run before.
_ANSWERED = (_State.APPROVED, _State.DENIED, _State.OK)
# A tool may be what kills its worker.
_MOST_RUNS = 3


def save_events(message_id: uuid.UUID, new: Iterable[Event], step: int, using: str) -> None:
    """Save calls that were requested, and results. step: of the event before the first; 0 if the reply has no tools yet."""
    rows, results = [], []
    for kind, payload in new:
        if kind == STEP:
            step = payload["number"]
        elif kind == TOOL_CALL and step and tool_calls.is_of_site(payload):
            call = {"call_id": payload["id"], "name": payload["name"], "arguments": payload["arguments"]}
            rows.append(ToolCall(message_id=message_id, step=step, **call))
        elif kind == TOOL_RESULT:
            results.append(payload)
    if rows:
        # Some may be there: the ending saves all events again.
        ToolCall.objects.using(using).bulk_create(rows, ignore_conflicts=True)
    if results:
        _save_results(message_id, results, using)


def save_starts(message_id: uuid.UUID, starts: Iterable[NotedCall], worker: str, using: str) -> None:
    """Save that calls run from now on."""
    # Running ones, too: a commit whose answer did not come may have happened.
    states = (_State.REQUESTED, _State.APPROVED, _State.RUNNING)
    for call in starts:
        row = ToolCall.objects.using(using).filter(message_id=message_id, call_id=call.call_id, status__in=states)
        noted = {"digest": call.digest, "is_idempotent": call.is_idempotent}
        row.update(status=_State.RUNNING, worker=worker, started_at=Now(), runs=F("runs") + 1, **noted)


def suspend(message_id: uuid.UUID, waits: Iterable[NotedCall], measured: Mapping[str, object], using: str) -> None:
    """Save that a reply waits: it has no worker, no lease and no slot. measured: columns of its message."""
    live = LiveReply.objects.using(using).filter(pk=message_id)
    until = Now() + timedelta(seconds=conf.STREAMING_CHAT_APPROVAL_SECONDS)
    live.update(worker=NOBODY, expires_at=until, slot=None, followed_until=None)
    # It has asked for a stop just now.
    live.exclude(stop=None).update(expires_at=Now() - timedelta(seconds=1))
    Message.objects.using(using).filter(pk=message_id).update(status=endings.WAITING, **measured)
    for call in waits:
        row = ToolCall.objects.using(using).filter(message_id=message_id, call_id=call.call_id)
        row.update(status=_State.WAITING, digest=call.digest)


def park(message_id: uuid.UUID, received: Sequence[Event], using: str) -> bool:
    """Let a reply of a dead worker wait to be gone on with, if all that has no result may run; return whether it may.

    That is so for calls that had been answered and had not begun, and for idempotent ones, which may run again.
    """
    ids = {call["id"] for call in tool_calls.open_calls(received)}
    rows = [row for row in ToolCall.objects.using(using).filter(message_id=message_id) if row.call_id in ids]
    if not rows or not all(map(_may_run, rows)):
        return False
    again = [row.pk for row in rows if row.status == _State.RUNNING]
    ToolCall.objects.using(using).filter(pk__in=again).update(status=_State.APPROVED)
    suspend(message_id, [], {}, using)
    # For nobody's answer: if this process dies before it goes on, the next one ends the reply.
    LiveReply.objects.using(using).filter(pk=message_id).update(expires_at=LiveReply.lease())
    return True


def waits_for_answer(message_id: uuid.UUID, using: str) -> bool:
    """Return whether a call of a reply waits for a person or for the client."""
    return ToolCall.objects.using(using).filter(message_id=message_id, status=_State.WAITING).exists()


def _may_run(row: ToolCall) -> bool:
    if row.status in _ANSWERED and not row.runs:
        return True
    return row.is_idempotent and row.status in (_State.APPROVED, _State.RUNNING) and row.runs < _MOST_RUNS


def lock_conversations(conversation_ids: Sequence[uuid.UUID], using: str) -> None:
    """Lock the conversations of replies that begin to wait, before their leases."""
    if conversation_ids:
        rows = Conversation.objects.using(using).filter(pk__in=sorted(conversation_ids))
        rows.update(last_status=endings.WAITING, last_activity=Now())


def closing(message_id: uuid.UUID, received: Sequence[Event], using: str, *, is_expired: bool) -> list[Event]:
    """Return the results of the calls that have none, for a reply that nobody writes any more.

    is_expired: nobody has answered in time.
    """
    if not any(event.kind == TOOL_CALL for event in received):
        return []
    rows = {row.call_id: row for row in ToolCall.objects.using(using).filter(message_id=message_id)}
    return [
        _last_result(rows[call["id"]], is_expired=is_expired)
        for call in tool_calls.open_calls(received)
        if call["id"] in rows
    ]


def _save_results(message_id: uuid.UUID, results: Iterable[Mapping[str, str]], using: str) -> None:
    rows = ToolCall.objects.using(using).filter(message_id=message_id)
    for result in results:
        # A denial has its status since it was answered.
        row = rows.filter(call_id=result["id"], ended_at=None)
        row.update(status=result["status"], output=result["output"], ms=result["ms"], ended_at=Now())


def _last_result(row: ToolCall, *, is_expired: bool) -> Event:
    if row.runs and row.status in (_State.RUNNING, _State.APPROVED):
        return tool_calls.result(row.call_id, tool_calls.UNKNOWN, tool_calls.LOST)
    if row.status == _State.DENIED:
        return tool_calls.denial(row.call_id, (row.answer or {}).get("reason", ""))
    if row.status == _State.WAITING and is_expired:
        return tool_calls.result(row.call_id, tool_calls.DENIED, tool_calls.NOT_ALLOWED_IN_TIME)
    if row.status == _State.OK:
        # A client has answered, and no run has taken its output.
        return tool_calls.result(row.call_id, tool_calls.OK, (row.answer or {}).get("output", ""))
    return tool_calls.result(row.call_id, tool_calls.CANCELLED, tool_calls.NOT_RUN)
