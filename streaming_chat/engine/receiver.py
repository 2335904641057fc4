"""Receives one reply from its provider: opens the provider's stream, tries again, and fills the reply's stream."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from streaming_chat.conf import conf
from streaming_chat.exceptions import ProviderError
from streaming_chat.logs import describe, logger
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.continued_text import Joint
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import DELTAS, PART_WEIGHT, STEP, Event, fitting, merge, text_length, weight
from streaming_chat.protocol.storable_text import TextCleaner
from streaming_chat.providers.base import Prompt, Provider, ProviderStream, Tools, Turn, longest_reply
from streaming_chat.providers.context import sources_of

from . import outages
from .measurements import Measurements
from .resumed import Resumed
from .run_state import RunState, StateMachine
from .site_context import ContextFunction, look_up
from .step_texts import StepCleaner
from .stream import ReplyStream
from .targets import Target
from .telemetry import Progress, ReplyTelemetry

_RETRIES = 2
# If a provider asks for a longer pause, there is no retry.
_LONGEST_RETRY_AFTER_SECONDS = 10.0


class Order(NamedTuple):
    """What a run is to do.

    start: payload of the `start` event. grace_seconds: how long it goes on without a reader, None: to its end.
    taken_over: events of the reply that it continues, which are saved already. quote: as in `Joint`. site_context: the
    function of STREAMING_CHAT_CONTEXT. fallbacks: what is asked in its place, in this order, if the provider cannot be
    reached. acts_for: the owner key of the owner for whom the model's tools act, "" without tools. resumed: what it goes on
    with, of a reply that has waited for an answer.
    """

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    provider: Provider
    prompt: Prompt
    start: dict[str, Any]
    grace_seconds: float | None
    taken_over: tuple[Event, ...] = ()
    quote: str = ""
    site_context: ContextFunction | None = None
    fallbacks: tuple[Target, ...] = ()
    acts_for: str = ""
    resumed: Resumed | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """The models that may be asked, the one that was chosen first."""
        return (Target(self.provider, self.prompt, self.quote), *self.fallbacks)


class Receiver:
    """Fills a reply's stream from its provider. Lives in the run's loop.

    target: the model that is asked, or was asked last.
    It refers to nothing of the run but its state: a cycle would keep the prompt until the collector comes by.
    """

    def __init__(
        self,
        order: Order,
        stream: ReplyStream,
        state: StateMachine,
        loop: asyncio.AbstractEventLoop,
        telemetry: ReplyTelemetry | None = None,
    ) -> None:
        self.measurements = Measurements(loop.time())
        if order.site_context:
            self.measurements.asked_at = None
        self._order = order
        self._others = outages.in_order(order.targets) if order.fallbacks else [*order.targets]
        self.target = self._others.pop(0)
        # Ends the wait for a model that takes too long, if there is another one.
        self._patience: asyncio.Timeout | None = None
        self._telemetry = telemetry
        self._stream = stream
        self._state = state
        self._clock = loop.time
        # Of what the provider sends: a reply that had its greatest length can be continued.
        self._longest = longest_reply()
        # Of a reply with tools: the number of the provider's call, from 1, and the index of its first event.
        self._step = self._step_index = 0
        # The turns before those of the reply itself, once there are any.
        self._history: tuple[Turn, ...] | None = None
        self._cleaner = self._make_cleaner()
        # JSON of the opaque state of each call of the provider that has any, by its number from 0.
        self.provider_states: dict[int, str] = {}
        self._upstream: ProviderStream | None = None
        # The same until its leftovers have been taken, which is done once.
        self._unfinished: ProviderStream | None = None

    async def receive(self, decide: Callable[[Ending], object]) -> Ending:
        """Receive the reply, with retries before its first event, from another model if need be; return how it ended.

        decide: called with the ending before the provider's connection is closed, which may take long.
        """
        return await self.look_up() or await self.ask(decide)

    async def look_up(self) -> Ending | None:
        """Take what the site knows into the prompt. Returns the ending if that fails."""
        function = self._order.site_context
        return await self._look_up(function) if function else None

    def rest(self) -> None:
        """Note that the provider is not asked, since the site's own code runs."""
        self._upstream = self._unfinished = None
        self.measurements.rest()

    def give(self, tools: Tools) -> None:
        """Let the models call these tools; those whose provider cannot be given any get none."""
        self.target, *self._others = [target.with_tools(tools) for target in (self.target, *self._others)]

    def begin_step(self, number: int, turns: Sequence[Turn]) -> None:
        """Note that the provider is asked once more. turns: what there is of this reply so far."""
        self.measurements.begin_step(self._clock())
        if turns:
            self._others = []
            self._history = self.target.prompt.turns if self._history is None else self._history
            self.target = self.target._replace(prompt=self.target.prompt.replace(turns=(*self._history, *turns)))
        self._stream.append([Event(STEP, {"number": number})])
        self._step, self._step_index = number, len(self._stream.events)

    def end_step(self) -> None:
        """Note that the provider has answered, and that tools run."""
        self._keep_state()
        self.rest()

    def add_results(self, results: list[Event]) -> None:
        """Append results of tools. They leave the model as much as without them."""
        added = weight(results)
        self._longest += added
        self._stream.weight += added
        self._stream.append(results)

    async def ask(self, decide: Callable[[Ending], object]) -> Ending:
        """Receive what the provider sends, with retries before its first event, from another model if need be."""
        attempt, pause = 0, 0.0
        while True:
            try:
                async with asyncio.timeout(None) as limit:
                    self._patience = limit
                    if pause:
                        await asyncio.sleep(pause)
                    return await self._attempt(decide)
            except ProviderError as error:
                # Its traceback refers to this frame: in a cycle, the prompt would stay until the collector comes by.
                failure = error.with_traceback(None)
            except TimeoutError:
                if not limit.expired():
                    raise
                failure = ProviderError("provider_timeout")
            if self._has_received:
                return self._broken(failure)
            if (delay := _retry_delay(failure, attempt)) is not None:
                logger.info("Retrying reply %s after %s (%s).", self._order.message_id, failure.code, failure.detail)
                attempt, pause = attempt + 1, delay
            elif self._ask_another(failure):
                attempt, pause = 0, 0.0
            else:
                return self._broken(failure)

    def fail_over(self) -> bool:
        """Ask another model, since this one takes too long; return whether there is one. In the loop."""
        patience, self._patience = self._patience, None
        if patience is None or not self._others or self._state.current is not RunState.STARTING:
            return False
        # The provider has as much time to close its connection.
        self.measurements.asked_at = now = self._clock()
        patience.reschedule(now)
        return True

    @property
    def position(self) -> int:
        """Units received so far."""
        return self._stream.position

    def finished(self) -> Ending | None:
        """Return the ending that the provider has named, though its stream goes on."""
        if self._upstream is None or not self._upstream.finish_reason:
            return None
        if self._step and self._upstream.end_reason == "tool_calls":
            # It is not the end of the reply.
            return None
        return endings.completed(self._upstream.end_reason)

    def take_leftovers(self) -> bool:
        """Keep the tool calls that are not complete, and a surrogate that waits for its other half.

        Returns False if the reply has its greatest length before their end.
        """
        unfinished, self._unfinished = self._unfinished, None
        leftovers = unfinished.leftovers() if unfinished is not None else []
        rest = [*self._cleaner.take(leftovers), *self._cleaner.flush()]
        return self._append_fitting(rest)

    def finish(self) -> None:
        """Keep what is left over and what the provider has said so far. Raises nothing, whatever the provider does."""
        try:
            self.take_leftovers()
            if self._upstream is not None:
                self.measurements.note_provider(self._upstream)
                self._keep_state()
        except Exception as error:  # noqa: BLE001  (a site's own provider; the reply is ended all the same)
            logger.error("The leftovers of reply %s could not be read: %s", self._order.message_id, describe(error))

    def _keep_state(self) -> None:
        if self._upstream is not None and (state := self._upstream.state):
            self.provider_states[max(self._step - 1, 0)] = json.dumps(list(state))

    @property
    def awaits_later_step(self) -> bool:
        """Whether the provider was asked again, and has sent nothing yet."""
        return self._step > 1 and len(self._stream.events) == self._step_index

    @property
    def _has_received(self) -> bool:
        """Whether anything was received in this step, or the reply is being ended."""
        if self._state.current is RunState.RECEIVING:
            return not self.awaits_later_step
        return self._state.current is not RunState.STARTING

    async def _look_up(self, function: ContextFunction) -> Ending | None:
        """Take what the site knows into the prompt, and its sources into the reply. Returns the ending if that fails."""
        try:
            context = await look_up(function, self.target.prompt)
            self.target, *self._others = [target.with_context(context) for target in (self.target, *self._others)]
            # A reply that goes on has its sources.
            sources = [] if self._order.resumed else list(fitting(sources_of(context), self._longest))
        except Exception as error:  # noqa: BLE001  (a site's own function)
            ref = uuid.uuid4().hex[:12]
            logger.error("The context of reply %s failed; ref %s: %s", self._order.message_id, ref, describe(error))
            return endings.broken("context_failed", received=self._stream.has_content, ref=ref)
        if sources:
            self._stream.weight = weight(sources)
            self._stream.append(sources)
            # The site's own documents leave the model as much as without them.
            self._longest += self._stream.weight
        self.measurements.asked_at = self._clock()
        return None

    def _ask_another(self, failure: ProviderError) -> bool:
        """Let the next model be asked, as nothing was received; return whether there is one."""
        if not self._order.fallbacks or not outages.is_outage(failure):
            return False
        outages.note(self.target, failure)
        if not self._others:
            return False
        failed, self.target = self.target, self._others.pop(0)
        self.measurements.asked_at = self._clock()
        self.measurements.forget_provider()
        logger.warning(
            "Reply %s: %s from %s, status %s, request %s, %s; %s is asked instead.",
            self._order.message_id,
            failure.code,
            failed.provider.alias,
            failure.status,
            failure.request_id or "-",
            failure.detail or "-",
            self.target.provider.alias,
        )
        return True

    async def _attempt(self, decide: Callable[[Ending], object]) -> Ending:
        """Call the provider once, measured if telemetry is on."""
        if self._telemetry is None:
            return await self._receive_once(decide)
        with self._telemetry.call(*self.target[:2], self._clock, self._progress) as call:
            try:
                ending = await self._receive_once(decide)
            except asyncio.CancelledError:
                # Not by a user, if `fail_over` was called.
                call.error_code = "" if self._patience else "provider_timeout"
                raise
            call.error_code = ending.error_code
            return ending

    def _progress(self) -> Progress:
        return Progress(self._upstream, self.measurements.first_event_at)

    async def _receive_once(self, decide: Callable[[Ending], object]) -> Ending:
        self._upstream = self._unfinished = upstream = self.target.provider.stream(self._prompt())
        # What the last attempt left half is not a part of this one.
        self._cleaner = self._make_cleaner()
        ending: Ending | None = None
        try:
            async with upstream:
                try:
                    ending = await self._read(upstream)
                except ProviderError as error:
                    if not self._has_received:
                        raise
                    ending = self._broken(error)
                finally:
                    self.measurements.note_provider(upstream)
                decide(ending)
        except Exception:
            # A connection that fails to close takes nothing back.
            if ending is None:
                raise
        return ending

    def _prompt(self) -> Prompt:
        """Return the prompt, in which the provider finds what its API has a word for."""
        provider, prompt, _quote = self.target
        return prompt if prompt.output is None or provider.sends_output(prompt) else prompt.with_instruction()

    async def _read(self, upstream: ProviderStream) -> Ending:
        """Append what comes until the reply is complete or has its greatest length; return how it ended."""
        stream, take, now, measurements = self._stream, self._cleaner.take, self._clock, self.measurements
        total, longest, latest = stream.weight, self._longest, self._latest
        while (received := await upstream.read()) is not None:
            measurements.last_bytes_at = now()
            if not received:
                continue
            new = take(received)
            if not new:
                continue
            if len(new) > 1:
                # Each event is an object in memory until the reply ends; one read may have thousands.
                new = list(merge(new))
            if measurements.first_event_at is None:
                self._note_first_event()
            # This is `events.weight`, without a call for each token.
            for kind, payload in new:
                total += len(payload) if kind in DELTAS else text_length(payload)
                # Kinds change a few times a reply; to see that they did not costs 8 ns a token.
                if kind != latest:
                    latest = kind if kind in DELTAS else ""
                    total += PART_WEIGHT
                    measurements.note_kind(kind)
            if total > longest:
                self._append_fitting(new)
                return endings.completed("length_cap")
            stream.weight = total
            stream.append(new)
        is_whole = self.take_leftovers()
        return endings.completed(upstream.end_reason if is_whole else "length_cap")

    @property
    def _latest(self) -> str:
        """The kind of the last event that this provider sent."""
        return self._stream.events[-1].kind if self._stream.weight else ""

    def _append_fitting(self, new: list[Event]) -> bool:
        """Append events as far as the greatest length allows; return whether that was all of them."""
        stream, latest = self._stream, self._latest
        kept = list(fitting(new, self._longest - stream.weight, latest))
        if kept:
            stream.weight += weight(kept, latest)
            stream.append(kept)
        return kept == new

    def _make_cleaner(self) -> TextCleaner | Joint | StepCleaner:
        if self._step:
            return StepCleaner(self._stream.events, self._step)
        so_far = events.text_of(self._order.taken_over)
        return Joint(so_far, self.target.quote) if so_far else TextCleaner()

    def _note_first_event(self) -> None:
        self.measurements.first_event_at = self.measurements.last_bytes_at
        self._state.advance(RunState.RECEIVING)

    def _broken(self, error: ProviderError) -> Ending:
        ref = uuid.uuid4().hex[:12]
        logger.warning(
            "Reply %s: %s from %s, status %s, request %s, %s; ref %s.",
            self._order.message_id,
            error.code,
            self.target.provider.alias,
            error.status,
            error.request_id or "-",
            error.detail or "-",
            ref,
        )
        if error.message and (conf.STREAMING_CHAT_LOG_PROVIDER_MESSAGES or settings.DEBUG):
            logger.warning("What %s says; ref %s: %s", self.target.provider.alias, ref, error.message)
        self.measurements.request_id = error.request_id or self.measurements.request_id
        self.take_leftovers()
        return endings.broken(error.code, received=self._stream.has_content, ref=ref)


def _retry_delay(error: ProviderError, attempt: int) -> float | None:
    """Return the pause before the next attempt in seconds; None if there is none. attempt: 0 for the first."""
    if not error.retryable or attempt == _RETRIES:
        return None
    delay = 0.5 * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311  (jitter, not a secret)
    delay = delay if error.retry_after is None else error.retry_after
    return delay if delay <= _LONGEST_RETRY_AFTER_SECONDS else None
