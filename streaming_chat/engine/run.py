"""One reply that this process receives from a provider.

A run is one asyncio task that owns a provider's stream and outlives the HTTP response. It never touches the ORM: a
detached task that does leaks a connection (60 requests, 60 connections).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from streaming_chat.conf import conf
from streaming_chat.exceptions import ProviderError
from streaming_chat.logs import describe, logger
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import DELTAS, REASONING, START, Event, before
from streaming_chat.protocol.text import Intake
from streaming_chat.providers.base import Prompt, Provider, ProviderStream, Usage

from .stream import ReplyStream

_RETRIES = 2
# A provider that asks for more is not waited for.
_LONGEST_RETRY_AFTER_SECONDS = 10.0
# How long a run that no reader has met yet waits for its first one: a client may leave before the first byte.
_FIRST_READER_SECONDS = 5.0
# Rough, and marked as estimated: providers count about four characters of English a token.
_CHARS_PER_TOKEN = 4


class Order(NamedTuple):
    """What a run is to do.

    start: payload of the `start` event. grace_seconds: how long it goes on without a reader, None: to its end.
    """

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    provider: Provider
    prompt: Prompt
    start: dict[str, Any]
    grace_seconds: float | None


class Run:
    """One reply that this process's task receives from a provider. Lives in one event loop."""

    def __init__(self, order: Order, loop: asyncio.AbstractEventLoop, hurry: Callable[[], object]) -> None:
        """hurry: called when there is something to save soon; from the loop."""
        self.message_id = order.message_id
        self.conversation_id = order.conversation_id
        self.outcome: Ending | None = None
        self.is_deserted = False
        self.ended = threading.Event()
        self.stream = ReplyStream(order.message_id, loop, on_follow=self._on_follow)
        self.events = self.stream.events
        self._order = order
        self._loop = loop
        self._hurry = hurry
        self._intake = Intake()
        self._verdict: Ending | None = None
        self._upstream: ProviderStream | None = None
        self._usage: Usage | None = None
        self._finish_reason = self._request_id = ""
        self._has_met_reader = False
        self._grace: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._on_done: list[Callable[[Run], object]] = []
        self._started = self._last_bytes = loop.time()
        self._first_event: float | None = None
        self._reasoning_began: float | None = None
        self._reasoning_ended: float | None = None
        self._ended_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.stream.append([Event(START, order.start)])

    @property
    def position(self) -> int:
        """Units received so far."""
        return self.stream.position

    @property
    def is_orphaned(self) -> bool:
        """Whether its loop was closed under it, without a word to it: its task was not even cancelled."""
        return self.outcome is None and self._loop.is_closed()

    def begin(self, on_done: Callable[[Run], object]) -> None:
        """Start the task, in a context of its own: the request's is gone before the run is. In the loop."""
        self._on_done.append(on_done)
        self._task = self._loop.create_task(self._work(), context=contextvars.Context())
        # A task that is cancelled before its first step never runs: without this it would be live for ever.
        self._task.add_done_callback(self._on_task_done)
        if not self.stream.readers:
            self._on_follow(False)

    def request_stop(self, by: str, position: int | None = None) -> None:
        """End it; the first stop wins. From any thread."""
        self._in_loop(lambda: self._stop(endings.stopped(by, position)))

    def refuse(self) -> None:
        """End it as not saved: there is no memory for what waits. From any thread."""
        self._in_loop(lambda: self._stop(endings.broken("not_saved", received=self._has_received())))

    def shut(self) -> None:
        """End it because the process ends, or its loop has. From any thread."""
        if self.is_orphaned:
            # Readers of that loop cannot be woken, and nobody is there who would be.
            with contextlib.suppress(RuntimeError):
                self._conclude(self._verdict or endings.broken("shutdown", received=self._has_received()))
            self._hurry()
        else:
            self._in_loop(lambda: self._stop(endings.broken("shutdown", received=self._has_received())))

    def dismiss(self) -> None:
        """Forget it: its ending waits in a file, and its readers are to come back for it. From any thread."""
        self._in_loop(self.stream.dismiss)
        self._leave()
        self.ended.set()

    def saved(self, payload: dict[str, Any], end_position: int) -> None:
        """Tell the readers of the ending that was saved. From the writer's thread."""
        self._in_loop(lambda: self._finish(payload, end_position))
        # Here, since a loop that is closing may take the call and never make it.
        self._leave()
        self.ended.set()

    def columns(self) -> dict[str, Any]:
        """Return the further columns of its message; see `writer.Saved`."""
        usage, estimated = self._usage, False
        if usage is None and self._first_event is not None:
            usage, estimated = self._estimate(), True
        first = self._first_event
        return {
            # As it is already, for its price.
            "model": f"{self._order.provider.alias}:{self._order.prompt.model}",
            "request_id": self._request_id[:255],
            "finish_reason": self._finish_reason[:64],
            "first_event_ms": None if first is None else round((first - self._started) * 1000),
            "reasoning_ms": self._reasoning_ms(),
            "duration_ms": round((self._ended_at - self._started) * 1000),
            "tokens_estimated": estimated,
            **(usage._asdict() if usage else {}),
        }

    async def _work(self) -> None:
        self._watch_patience()
        try:
            ending = await self._produce()
        except asyncio.CancelledError:
            # Without a verdict it was the loop that ended.
            ending = endings.broken("shutdown", received=self._has_received())
        except Exception as error:  # noqa: BLE001  (whatever broke, the reply is ended and kept)
            ref = uuid.uuid4().hex[:12]
            logger.error("Reply %s broke; ref %s: %s", self.message_id, ref, describe(error))
            ending = endings.broken("internal", received=self._has_received(), ref=ref)
        # The verdict also where a provider swallowed the cancellation.
        self._conclude(self._verdict or ending)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if self.outcome is None:
            self._conclude(self._verdict or endings.broken("shutdown", received=self._has_received()))

    async def _produce(self) -> Ending:
        """Receive the reply, with retries before its first event, and return how it ended."""
        for attempt in range(_RETRIES + 1):
            try:
                return await self._receive()
            except ProviderError as error:
                wait = 0.5 * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311  (jitter, not a secret)
                wait = wait if error.retry_after is None else error.retry_after
                if (
                    self._has_received()
                    or self._verdict is not None
                    or not error.retryable
                    or attempt == _RETRIES
                    or wait > _LONGEST_RETRY_AFTER_SECONDS
                ):
                    return self._break(error)
                logger.info("Retrying reply %s after %s (%s).", self.message_id, error.code, error.detail)
                await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns")

    async def _receive(self) -> Ending:
        upstream = self._order.provider.stream(self._order.prompt)
        self._upstream = upstream
        self._intake = Intake()
        ending: Ending | None = None
        try:
            async with upstream:
                try:
                    ending = await self._read(upstream)
                finally:
                    self._note(upstream)
        except Exception:
            # A connection that fails to close takes nothing back.
            if ending is None:
                raise
        return ending

    async def _read(self, upstream: ProviderStream) -> Ending:
        """Append what comes until the reply is complete, or as long as we let it be; return how it ended."""
        stream, take, now = self.stream, self._intake.take, self._loop.time
        longest = conf.STREAMING_CHAT_MAX_REPLY_CHARS
        latest = START
        while (received := await upstream.read()) is not None:
            self._last_bytes = now()
            if not received:
                continue
            new = take(received)
            if not new:
                continue
            if self._first_event is None:
                self._first_event = self._last_bytes
            size = 0
            for kind, payload in new:
                size += len(payload) if kind in DELTAS else 1
                # Kinds change a few times a reply; to see that they did not costs 8 ns a token (timeit).
                if kind != latest:
                    latest = kind
                    self._note_kind(kind)
            if stream.position + size > longest:
                stream.append(before(new, longest + 1, stream.position))
                return endings.completed("length_cap", received=True)
            stream.append(new)
        self._take_leftovers()
        return endings.completed(upstream.end_reason, received=self._has_received())

    def _note(self, upstream: ProviderStream) -> None:
        self._usage = upstream.usage or self._usage
        self._finish_reason = upstream.finish_reason
        self._request_id = upstream.request_id

    def _note_kind(self, kind: str) -> None:
        """Note when the first reasoning began, and when something else came after it."""
        if kind == REASONING:
            if self._reasoning_began is None:
                self._reasoning_began = self._last_bytes
        elif self._reasoning_began is not None and self._reasoning_ended is None:
            self._reasoning_ended = self._last_bytes

    def _reasoning_ms(self) -> int | None:
        """Return how long it reasoned, None when it did not; reasoning that nothing followed lasted to the end."""
        if self._reasoning_began is None:
            return None
        ended = self._ended_at if self._reasoning_ended is None else self._reasoning_ended
        return round((ended - self._reasoning_began) * 1000)

    def _break(self, error: ProviderError) -> Ending:
        ref = uuid.uuid4().hex[:12]
        logger.warning(
            "Reply %s: %s from %s, status %s, request %s, %s; ref %s.",
            self.message_id,
            error.code,
            self._order.provider.alias,
            error.status,
            error.request_id or "-",
            error.detail or "-",
            ref,
        )
        self._request_id = error.request_id or self._request_id
        self._take_leftovers()
        return endings.broken(error.code, received=self._has_received(), ref=ref)

    def _take_leftovers(self) -> None:
        """Keep the tool calls that are not whole, and a surrogate that waits for its other half."""
        leftovers = self._upstream.leftovers() if self._upstream is not None else []
        rest = [*self._intake.take(leftovers), *self._intake.flush()]
        if rest:
            self.stream.append(rest)

    def _conclude(self, ending: Ending) -> None:
        try:
            self._take_leftovers()
        except Exception as error:  # noqa: BLE001  (a site's own provider; the reply is ended all the same)
            logger.error("What reply %s left over could not be read: %s", self.message_id, describe(error))
        if ending.status == endings.FAILED and self._has_received():
            # The leftovers are all there is: half a tool call.
            ending = endings.broken(ending.error_code, received=True, ref=ending.ref)
        self._ended_at = self._loop.time()
        for timer in (self._patience, self._grace):
            if timer is not None:
                timer.cancel()
        if ending.cut_position is not None:
            self.stream.cut = max(ending.cut_position, 1)
        self.outcome = ending
        # A reader in whose transaction it is saved looks again.
        self.stream.nudge()
        self._hurry()

    def _stop(self, ending: Ending) -> None:
        if self._verdict is None and self.outcome is None and self._task is not None:
            self._verdict = ending
            if ending.cut_position is not None:
                self.stream.cut = max(ending.cut_position, 1)
            self._task.cancel()

    def _finish(self, payload: dict[str, Any], end_position: int) -> None:
        if self.outcome is None:
            # Settled elsewhere: this worker lost its claim.
            self._stop(Ending(endings.INTERRUPTED, "lease_expired", "lease_expired"))
        # Also where a stop had cut it here and the ending that was saved is another one.
        if end_position < self.stream.position or self.stream.cut is not None:
            self.stream.cut = max(end_position, 1)
        self.stream.end(payload)

    def _leave(self) -> None:
        for call in self._on_done:
            call(self)

    def _has_received(self) -> bool:
        return len(self.events) > 1

    def _estimate(self) -> Usage:
        prompt = self._order.prompt
        asked = len(prompt.system) + sum(len(turn.text) for turn in prompt.turns)
        return Usage(
            input_tokens=-(-asked // _CHARS_PER_TOKEN), output_tokens=-(-(self.stream.position - 1) // _CHARS_PER_TOKEN)
        )

    def _limit(self) -> float:
        """When patience ends, by the loop's clock."""
        total = self._started + conf.STREAMING_CHAT_MAX_REPLY_SECONDS
        if self._first_event is None:
            return min(total, self._started + self._order.provider.first_event_timeout)
        return min(total, self._last_bytes + self._order.provider.stall_timeout)

    def _watch_patience(self) -> None:
        """Look at the limit, or sooner where the first event would bring it nearer: the next is stall_timeout after it."""
        nearest = self._loop.time() + self._order.provider.stall_timeout
        self._patience = self._loop.call_at(min(self._limit(), nearest), self._check_patience)

    def _check_patience(self) -> None:
        """One timer a run, set again only when it fires: a token costs it nothing."""
        now = self._loop.time()
        if now < self._limit():
            self._watch_patience()
        elif self._first_event is None:
            self._stop(endings.broken("provider_timeout", received=False))
        elif now >= self._started + conf.STREAMING_CHAT_MAX_REPLY_SECONDS:
            self._stop(endings.completed("length_cap", received=True))
        elif self._upstream is not None and self._upstream.finish_reason:
            # It said that it had finished and left the connection open.
            self._stop(endings.completed(self._upstream.end_reason, received=self._has_received()))
        else:
            self._stop(endings.broken("provider_stall", received=True))

    def _on_follow(self, is_followed: bool) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self.is_deserted = False
        if is_followed:
            self._has_met_reader = True
        elif self._order.grace_seconds is not None and self.outcome is None:
            wait = self._order.grace_seconds
            if not self._has_met_reader:
                wait = max(wait, _FIRST_READER_SECONDS)
            self._grace = self._loop.call_later(wait, self._desert)

    def _desert(self) -> None:
        """The grace has passed here; the writer asks whether somebody follows elsewhere."""
        self.is_deserted = True
        self._hurry()

    def _in_loop(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed: nobody follows, and the writer has what there was.
            return
