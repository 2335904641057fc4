"""Asks the provider again and again, and runs the tools that it calls in between.

    step 1 ─► text, calls ─► commit "running" ─► tools run, at once ─► results ─► step 2 ─► … ─► text

A reply with tools is one run with one lease and one stream. If a call needs a person's answer, the run is over and the reply
waits (see `tool_rows.suspend`); the process that takes the last answer goes on with a run of its own.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from streaming_chat.conf import conf
from streaming_chat.logs import describe, logger
from streaming_chat.protocol import endings, events, tool_calls
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import STEP, TOOL_CALL
from streaming_chat.providers.base import Tools, Turn
from streaming_chat.providers.tool_turns import turns_of_reply
from streaming_chat.tools import Tool, ToolContext, tools_for

from .call_log import CallLog
from .receiver import Order, Receiver
from .resumed import Answer, Resumed
from .stream import ReplyStream
from .tool_runs import PendingCall

_WAITING = Ending(endings.WAITING)
# The ends of a provider's reply after which its calls are run: some servers say "stop" of a reply with calls.
_GOES_ON = ("stop", "tool_calls")
# What a call is told that was not run, by the reason for which the reply ended.
_NOT_RUN = {"max_steps": tool_calls.TOO_MANY_STEPS} | dict.fromkeys(
    ("length", "length_cap", "content_filter"), tool_calls.CUT_OFF
)

Decide = Callable[[Ending], object]


class ToolLoop:
    """Of one run, in its loop. It refers to nothing of the run, as the receiver does."""

    def __init__(
        self, order: Order, receiver: Receiver, stream: ReplyStream, log: CallLog, flush_soon: Callable[[], object]
    ) -> None:
        self._order = order
        self._receiver = receiver
        self._stream = stream
        self._log = log
        self._flush_soon = flush_soon
        self._tools: Mapping[str, Tool] = {}
        self._pending: list[PendingCall] = []
        context = order.prompt.context
        self._context = ToolContext(
            user_id=context.user_id,
            owner_key=order.acts_for,
            conversation_id=order.conversation_id,
            message_id=order.message_id,
        )

    async def receive(self, decide: Decide) -> Ending:
        """Receive the whole reply; return how it ended, or that it waits. decide: as for `Receiver.receive`."""
        self._receiver.rest()
        if failed := await self._receiver.look_up() or await self._find_tools():
            return failed
        if (resumed := self._order.resumed) and await self._go_on(resumed):
            return _WAITING
        number = sum(event.kind == STEP for event in self._stream.events)
        while True:
            number += 1
            self._receiver.begin_step(number, self._turns())
            first = len(self._stream.events)
            ending = await self._receiver.ask(partial(self._decide, decide, first, number))
            if not self._goes_on(ending, first, number):
                return self._last(ending, first, number)
            self._receiver.end_step()
            if await self._run_calls(first):
                return _WAITING

    def close(self, ending: Ending) -> None:
        """Append a result for every call that has none, since the reply has ended; not if it waits. In the loop."""
        if ending.status == endings.WAITING:
            return
        pending = {call.id: call for call in self._pending}
        results = []
        for payload in tool_calls.open_calls(self._stream.events):
            call = pending.get(payload["id"]) or PendingCall.of(payload, self._tools, self._context)
            if not call.has_started and (answer := self._answers.get(call.id)):
                call.result = call.result or answer.result(call.id)
            call.end(*_last_result(call, ending))
            results.append(call.result)
        if results:
            self._receiver.add_results([result for result in results if result is not None])

    async def _find_tools(self) -> Ending | None:
        """Find the tools of the model, and give them to it. Returns the ending if that fails."""
        try:
            self._tools = await tools_for(self._receiver.target.name, self._context)
        except Exception as error:  # noqa: BLE001  (a site's own toolbox)
            ref = uuid.uuid4().hex[:12]
            logger.error("The tools of reply %s failed; ref %s: %s", self._order.message_id, ref, describe(error))
            return endings.broken("internal", received=self._stream.has_content, ref=ref)
        if self._tools:
            self._receiver.give(Tools(tuple(map(_function, self._tools.values()))))
        return None

    @property
    def _answers(self) -> Mapping[str, Answer]:
        """The answers with which the reply goes on, by the id of the call."""
        return self._order.resumed.answers if self._order.resumed else {}

    def _turns(self) -> list[Turn]:
        """Return the turns of this reply so far."""
        states = {call + 1: json.loads(state) for call, state in self._receiver.provider_states.items()}
        if self._order.resumed:
            states = {**self._order.resumed.states, **states}
        return [*turns_of_reply(events.to_parts(self._stream.events), states)]

    def _calls_since(self, first: int) -> list[dict[str, object]]:
        since = self._stream.events[first:]
        return [payload for kind, payload in since if kind == TOOL_CALL and tool_calls.is_of_site(payload)]

    def _has_calls(self, ending: Ending, first: int) -> bool:
        is_whole = ending.status == endings.COMPLETED and ending.end_reason in _GOES_ON
        return is_whole and bool(self._calls_since(first))

    def _goes_on(self, ending: Ending, first: int, number: int) -> bool:
        return number < conf.STREAMING_CHAT_MAX_STEPS and self._has_calls(ending, first)

    def _last(self, ending: Ending, first: int, number: int) -> Ending:
        """Return how the reply ends with its last step."""
        is_limit = number >= conf.STREAMING_CHAT_MAX_STEPS and self._has_calls(ending, first)
        return endings.completed("max_steps") if is_limit else ending

    def _decide(self, decide: Decide, first: int, number: int, ending: Ending) -> None:
        """Decide about the reply's ending, if it ends with this step."""
        if not self._goes_on(ending, first, number):
            decide(self._last(ending, first, number))

    async def _run_calls(self, first: int) -> bool:
        """Run the calls of a step; return whether the reply waits for an answer to some."""
        self._pending = [PendingCall.of(payload, self._tools, self._context) for payload in self._calls_since(first)]
        await asyncio.gather(*(call.judge(place) for place, call in enumerate(self._pending)))
        await self._run([call for call in self._pending if not call.waits_for])
        return self._wait_for([call for call in self._pending if call.waits_for])

    async def _go_on(self, resumed: Resumed) -> bool:
        """Run the calls that were answered; return whether the reply still waits."""
        self._receiver.rest()
        open_calls = tool_calls.open_calls(self._stream.events)
        self._pending = [PendingCall.of(payload, self._tools, self._context) for payload in open_calls]
        await asyncio.gather(*(self._judge_answered(call, resumed.answers.get(call.id)) for call in self._pending))
        await self._run(self._pending)
        return False

    async def _judge_answered(self, call: PendingCall, answer: Answer | None) -> None:
        if answer is None:
            call.end(tool_calls.CANCELLED, tool_calls.NOT_RUN)
        else:
            await call.judge_answered(answer)

    async def _run(self, calls: Sequence[PendingCall]) -> None:
        """Run these together, once it is committed that they run; append each result as soon as all before it are there.

        Return once the results are committed.
        """
        if to_run := [call for call in calls if call.result is None]:
            self._log.note(call.noted for call in to_run)
            self._flush_soon()
            await self._log.saved()
        await _in_order(calls, self._append_result)
        await self._log.saved()

    def _append_result(self, call: PendingCall) -> None:
        if call.result is not None:
            self._receiver.add_results([call.result])
            self._log.note()
            self._flush_soon()

    def _wait_for(self, calls: Iterable[PendingCall]) -> bool:
        waiting = [*calls]
        if waiting:
            self._log.waits = [call.noted for call in waiting]
            until = datetime.now(UTC) + timedelta(seconds=conf.STREAMING_CHAT_APPROVAL_SECONDS)
            self._log.approval = tool_calls.approval((call.asked for call in waiting), until.isoformat())
        return bool(waiting)


async def _in_order(calls: Sequence[PendingCall], done: Callable[[PendingCall], object]) -> None:
    """Run the calls without a result, all at once, and report each in their order."""
    async with asyncio.TaskGroup() as group:
        tasks: list[Awaitable[object] | None] = [
            None if call.result else group.create_task(call.run()) for call in calls
        ]
        for call, task in zip(calls, tasks, strict=True):
            if task is not None:
                await task
            done(call)


def _function(tool: Tool) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _last_result(call: PendingCall, ending: Ending) -> tuple[str, str]:
    """Return the status and the output of a call that the end of the reply has cancelled."""
    if not call.has_started:
        return tool_calls.CANCELLED, _NOT_RUN.get(ending.end_reason, tool_calls.NOT_RUN)
    if ending.status == endings.INTERRUPTED:
        return tool_calls.UNKNOWN, tool_calls.LOST
    return tool_calls.CANCELLED, tool_calls.STOPPED_WHILE_RUNNING
