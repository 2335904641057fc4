"""Asks the lines of a file, a few at a time, and saves each answer before it counts.

A failure that may pass is tried again, after the pause that the provider asks for; what fails all the same has no result, so
that another run of the command asks it again. What a provider refuses for good has a result with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from streaming_chat.exceptions import ProviderError
from streaming_chat.providers.asking import Answer, ask_once, pause_after
from streaming_chat.providers.base import Usage
from streaming_chat.providers.pricing import cost_of

from .files import ResultFile
from .lines import Line, answered, refused

RETRIES = 6
# Between two attempts, in seconds: the longest that is not the provider's wish, and the longest wish that is granted.
_LONGEST_PAUSE = 60.0
_LONGEST_RETRY_AFTER = 3_600.0


@dataclass
class Totals:
    """What a batch came to. left: lines that may be answered if they are asked again. uncosted: answers of unknown cost."""

    answered: int = 0
    refused: int = 0
    left: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    uncosted: int = 0

    def add(self, usage: Usage | None, cost: Decimal | None) -> None:
        """Count one answer."""
        self.answered += 1
        if usage:
            self.input_tokens += usage.input_tokens or 0
            self.output_tokens += usage.output_tokens or 0
        self.cost += cost or 0
        self.uncosted += cost is None


class BatchRun:
    """One run of a batch, in one event loop. stopped_by: the failure that asking another line would only repeat."""

    def __init__(self, lines: Iterator[Line], results: ResultFile, concurrency: int) -> None:
        self.totals = Totals()
        self.stopped_by: ProviderError | None = None
        self.started_at = time.monotonic()
        self._lines = lines
        self._results = results
        self._concurrency = concurrency
        self._finishing = asyncio.Event()
        self._saving = asyncio.Lock()
        self._unsaved: list[dict[str, Any]] = []
        # Alias of a provider that asked for a pause -> until when, by the loop's clock.
        self._paused_until: dict[str, float] = {}

    def finish(self) -> None:
        """Begin no further line. The calls in progress may end, since they are paid for."""
        self._finishing.set()

    @property
    def is_finishing(self) -> bool:
        """Whether no further line begins."""
        return self._finishing.is_set()

    async def run(self) -> None:
        """Ask all lines. Raises OSError if results cannot be saved."""
        try:
            async with asyncio.TaskGroup() as group:
                for _worker in range(self._concurrency):
                    group.create_task(self._work())
        except* OSError as errors:
            raise errors.exceptions[0] from None

    async def _work(self) -> None:
        while not self.is_finishing and (line := next(self._lines, None)):
            await self._ask(line)

    async def _ask(self, line: Line) -> None:
        """Ask until there is an answer, or none to be had."""
        for attempt in range(RETRIES + 1):
            await self._wait_for_turn(line)
            if self.is_finishing:
                break
            self.totals.calls += 1
            try:
                answer = await ask_once(line.provider, line.prompt)
            except ProviderError as error:
                if not await self._may_try_again(line, error, attempt):
                    return
            else:
                await self._save_answer(line, answer)
                return
        self.totals.left += 1

    async def _may_try_again(self, line: Line, error: ProviderError, attempt: int) -> bool:
        """Wait before the next attempt; or count the line, and return False."""
        if error.code == "provider_auth":
            self.stopped_by = error
            self.finish()
        if error.retryable and (error.retry_after or 0) <= _LONGEST_RETRY_AFTER and attempt < RETRIES:
            await self._pause(line, error, attempt)
            return True
        if error.retryable or error.code == "provider_auth":
            self.totals.left += 1
        else:
            await self._save(refused(line, error.code))
            self.totals.refused += 1
        return False

    async def _save_answer(self, line: Line, answer: Answer) -> None:
        usage = answer.usage._asdict() if answer.usage else {}
        cost = cost_of(line.model, usage)
        await self._save(answered(line, answer, cost))
        self.totals.add(answer.usage, cost)

    async def _pause(self, line: Line, error: ProviderError, attempt: int) -> None:
        seconds = pause_after(error, attempt)
        if error.retry_after is None:
            await self._sleep(min(seconds, _LONGEST_PAUSE))
            return
        # The next call to this provider would be refused, too.
        until = asyncio.get_running_loop().time() + seconds
        self._paused_until[line.provider.alias] = max(until, self._paused_until.get(line.provider.alias, 0))

    async def _wait_for_turn(self, line: Line) -> None:
        now = asyncio.get_running_loop().time
        while not self.is_finishing and (seconds := self._paused_until.get(line.provider.alias, 0) - now()) > 0:
            await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless no further attempt is wanted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finishing.wait(), seconds)

    async def _save(self, result: dict[str, Any]) -> None:
        """Return once the result is on the disk. Results that arrive meanwhile share the next write."""
        self._unsaved.append(result)
        async with self._saving:
            unsaved, self._unsaved = self._unsaved, []
            if unsaved:
                await asyncio.to_thread(self._results.append, unsaved)
