"""One reply that this process receives from a provider.

A run is one asyncio task that owns a provider's stream and outlives the HTTP response. It never touches the ORM: a
detached task that does leaks a connection (60 requests, 60 connections).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streaming_chat.logs import describe, logger
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import START, Event
from streaming_chat.protocol.tool_calls import without_tools_cut

from .call_log import CallLog
from .disconnect_grace import GracePeriod
from .event_loops import call_in_loop
from .output_check import UNCHECKED, output_error
from .provider_timeouts import ReplyTimeouts
from .receiver import Order, Receiver
from .resumed import with_earlier
from .run_state import EndedFlag, RunState, StateMachine
from .stream import ReplyStream
from .targets import Target
from .telemetry import ReplyTelemetry

if TYPE_CHECKING:
    from .tool_loop import ToolLoop

__all__ = ["RELEASE_SECONDS", "Order", "Run", "Target"]

# How long a provider may take to close its connection once the ending is decided. Then the reply ends without it.
RELEASE_SECONDS = 3.0

# Tasks whose provider never let go: the event loop itself holds tasks only weakly.
_abandoned: set[asyncio.Task[None]] = set()


class Run:
    """One reply that this process's task receives from a provider. Lives in one event loop.

    outcome: how the reply ended, once the run is concluded. ended: set when it is saved or dismissed, and its readers
    have been told.
    """

    def __init__(
        self,
        order: Order,
        loop: asyncio.AbstractEventLoop,
        flush_soon: Callable[[], object],
        telemetry: ReplyTelemetry | None = None,
    ) -> None:
        """flush_soon: called in the loop when there is something that should be saved soon."""
        self.message_id = order.message_id
        self.conversation_id = order.conversation_id
        self.outcome: Ending | None = None
        self.ended = EndedFlag()
        self.stream = ReplyStream(order.message_id, loop, on_follow=self._on_follow)
        self.events = self.stream.events
        # What is saved of the calls of the site's tools; None without tools.
        self.calls = CallLog(loop) if order.acts_for else None
        self._order = order
        self._loop = loop
        self._flush_soon = flush_soon
        self._state = StateMachine()
        self._telemetry = telemetry
        self._receiver = Receiver(order, self.stream, self._state, loop, telemetry)
        self._timeouts = ReplyTimeouts(loop, self._receiver)
        self._grace = GracePeriod(loop, order.grace_seconds)
        self._decided: Ending | None = None
        self._output_error = UNCHECKED
        self._ended_at: float | None = None
        self._on_over: Callable[[Run], object] | None = None
        self._task: asyncio.Task[None]
        self._release_timer: asyncio.TimerHandle | None = None
        saved = order.resumed.events if order.resumed else order.taken_over
        self.stream.append([Event(START, order.start), *saved])
        self.stream.answered = len(self.events) if order.resumed else 0
        self._tools = self._make_tool_loop(self.calls) if self.calls else None
        # What comes from here on is this run's own; what precedes it is saved already.
        self.own_index, self.own_position = len(self.events), self.position

    @property
    def position(self) -> int:
        """Units received so far."""
        return self.stream.position

    @property
    def weight(self) -> int:
        """The weight of what its provider has sent so far (see `protocol/events.py`). From any thread."""
        return self.stream.weight

    @property
    def is_urgent(self) -> bool:
        """Whether something of it is saved at once, not at the next interval. From any thread."""
        return self.outcome is not None or self.is_unfollowed or (self.calls is not None and self.calls.is_due)

    @property
    def is_resumed(self) -> bool:
        """Whether its reply has begun before, and has waited."""
        return self._order.resumed is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it is over in this process, and its reply goes on once a person has answered."""
        return self.outcome is not None and self.outcome.status == endings.WAITING

    @property
    def is_orphaned(self) -> bool:
        """Whether its loop was closed without a word to it: its task was not even cancelled."""
        return self.outcome is None and self._loop.is_closed()

    @property
    def is_unfollowed(self) -> bool:
        """Whether it has no reader in this process, and its grace period has passed."""
        return self._grace.is_over

    def start(self, on_over: Callable[[Run], object]) -> None:
        """Start the task, in a context of its own: the request's ends before the run. In the loop.

        on_over: called once the run is saved or dismissed; from any thread.
        """
        self._on_over = on_over
        self._task = self._loop.create_task(self._work(), context=contextvars.Context())
        # A task that is cancelled before its first step never runs: without this, the run would be live for ever.
        self._task.add_done_callback(self._on_task_done)
        self._timeouts.start(self._stop)
        if not self.stream.readers:
            self._grace.start(self._flush_soon)

    def request_stop(self, by: str, position: int | None = None) -> None:
        """End it for a user, for staff, or because nobody reads; the first stop wins. From any thread."""
        call_in_loop(self._loop, self._stop, endings.stopped(by, position))

    def end_unsaved(self) -> None:
        """End it as not saved: there is no memory for what waits to be saved. From any thread."""
        call_in_loop(self._loop, self._break_off, "not_saved")

    def shut_down(self) -> None:
        """End it because the process ends, or because its loop has. From any thread."""
        if not self.is_orphaned:
            call_in_loop(self._loop, self._break_off, "shutdown")
            return
        # The readers of that loop cannot be woken, and none is left.
        with contextlib.suppress(RuntimeError):
            self._conclude(self._decided or self._broken("shutdown"))
        self._flush_soon()

    def dismiss(self) -> None:
        """Forget it: its ending is in the journal, and its readers must reconnect to get it. From any thread."""
        if self._state.advance(RunState.DISMISSED):
            call_in_loop(self._loop, self.stream.dismiss)
            self._end()

    def mark_saved(self, payload: dict[str, Any], end_position: int) -> None:
        """Tell the readers the ending that was saved, here or elsewhere. From the writer's thread.

        end_position: where the reply ends for its owner.
        """
        if left := self._state.advance(RunState.SAVED):
            call_in_loop(self._loop, self._finish, left, payload, end_position)
            # Not in the loop: one that is closing may take the call and never make it.
            self._end()

    def mark_waiting(self) -> None:
        """Tell the readers, who stay, that the reply waits, since that is saved. From the writer's thread."""
        if self._state.advance(RunState.SAVED):
            if self.calls is not None and self.calls.approval is not None:
                call_in_loop(self._loop, self.stream.append, [self.calls.approval])
            self._end()

    @property
    def provider_states(self) -> dict[int, str]:
        """JSON of the provider's opaque states, by the number of its call. Complete once the run is concluded."""
        return self._receiver.provider_states

    def columns(self) -> dict[str, Any]:
        """Return the columns of its message that only the run knows. From any thread."""
        target = self._receiver.target
        ended_at = self._loop.time() if self._ended_at is None else self._ended_at
        measured = self._receiver.measurements.columns(target.prompt, 1 + self.position - self.own_position, ended_at)
        return {
            # Of the model that answered: the price depends on it.
            **target.columns,
            **({"continued_at": self.own_position} if self._order.taken_over else {}),
            **self._output_columns(),
            **(with_earlier(measured, self._order.resumed.measured) if self._order.resumed else measured),
        }

    def _output_columns(self) -> dict[str, str]:
        """Return the columns of the object that the reply must be, if it is not a text."""
        if (output := self._order.prompt.output) is None:
            return {}
        is_completed = self.outcome is not None and self.outcome.status == endings.COMPLETED
        return {"output_name": output.name, "output_error": self._output_error if is_completed else ""}

    async def _work(self) -> None:
        try:
            ending = await (self._tools or self._receiver).receive(self._decide)
        except asyncio.CancelledError:
            # If nothing was decided, the loop itself is ending.
            ending = self._broken("shutdown")
        except Exception as error:  # noqa: BLE001  (whatever broke, the reply is ended and kept)
            ref = uuid.uuid4().hex[:12]
            logger.error("Reply %s broke; ref %s: %s", self.message_id, ref, describe(error))
            ending = self._broken("internal", ref)
        # What was decided comes first, also if the provider swallowed the cancellation.
        ending = self._decided or ending
        if output := self._order.prompt.output:
            self._cancel_release()
            self._output_error = await output_error(self.message_id, output, ending, self.events)
        self._conclude(ending)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        _abandoned.discard(task)
        self._cancel_release()
        self._conclude(self._decided or self._broken("shutdown"))

    def _break_off(self, code: str) -> None:
        self._stop(self._broken(code))

    def _stop(self, ending: Ending) -> None:
        if self._decide(ending):
            self._task.cancel()

    def _decide(self, ending: Ending) -> bool:
        """Let this be the ending, unless there is one already. The provider has a few seconds to let go."""
        if not self._state.advance(RunState.STOPPING):
            return False
        if ending.cut_position is not None:
            ending = replace(ending, cut_position=without_tools_cut(self.events, ending.cut_position))
        self._decided = ending
        if ending.cut_position is not None:
            self.stream.cut_at(ending.cut_position)
        self._expect_release()
        return True

    def _expect_release(self) -> None:
        self._release_timer = self._loop.call_later(RELEASE_SECONDS, self._abandon)

    def _cancel_release(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()

    def _abandon(self) -> None:
        """End the reply without its provider, whose close hangs or which swallowed the cancellation."""
        self._release_timer = None
        logger.error(
            "Provider %s has not let go of reply %s within %s s; its task is abandoned.",
            self._receiver.target.provider.alias,
            self.message_id,
            RELEASE_SECONDS,
        )
        _abandoned.add(self._task)
        # Once more, since only a close may hang. A loop that ends waits for all of its tasks: not for this one.
        self._task.cancel()
        asyncio.tasks._unregister_task(self._task)
        self._conclude(self._decided or self._broken("shutdown"))

    def _conclude(self, ending: Ending) -> None:
        """Accept no more events, and have the ending saved. In the loop; in any thread if the loop was closed before."""
        if not self._state.advance(RunState.CONCLUDED):
            return
        self._receiver.finish()
        if self._tools is not None:
            self._tools.close(ending)
        if ending.status == endings.FAILED and self.stream.has_content:
            # The leftovers are all there is: half a tool call.
            ending = endings.broken(ending.error_code, received=True, ref=ending.ref)
        ending = endings.checked(ending, self.events, reasoning_tokens=self._receiver.measurements.reasoning_tokens)
        self._ended_at = self._loop.time()
        self._cancel_timers()
        if ending.status != endings.WAITING:
            self.stream.close()
        self.outcome = ending
        if self._telemetry is not None:
            self._telemetry.end(ending)
        # A reader in whose transaction the reply is saved looks again.
        self.stream.notify()
        self._flush_soon()

    def _finish(self, left: RunState, payload: dict[str, Any], end_position: int) -> None:
        """End the stream for the readers. left: the state in which the ending was saved."""
        if left in (RunState.STARTING, RunState.RECEIVING):
            # Another process has taken this worker for dead, and has ended the reply.
            self._task.cancel()
            self._expect_release()
        self._cancel_timers()
        # Also if a stop has cut the reply here, and the ending that was saved is another one.
        if end_position < self.stream.position or self.stream.cut is not None:
            self.stream.cut_at(end_position)
        self.stream.end(payload)

    def _make_tool_loop(self, calls: CallLog) -> ToolLoop:
        # Not imported for a reply without tools.
        from .tool_loop import ToolLoop

        return ToolLoop(self._order, self._receiver, self.stream, calls, self._flush_soon)

    def _end(self) -> None:
        if self._on_over is not None:
            self._on_over(self)
        self.ended.set()

    def _cancel_timers(self) -> None:
        self._timeouts.cancel()
        self._grace.cancel()

    def _broken(self, code: str, ref: str = "") -> Ending:
        return endings.broken(code, received=self.stream.has_content, ref=ref)

    def _on_follow(self, is_followed: bool) -> None:
        if is_followed:
            self._grace.end_with_reader()
        elif self.outcome is None:
            self._grace.start(self._flush_soon)
