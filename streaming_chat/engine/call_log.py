"""What must be saved of a reply's tool calls besides their events, and must be saved before it happens.

The run's loop notes that calls are to run. The writer saves that in the transaction with their events, under the lock of the
lease, and confirms it after the commit. Only then do the tools run, so none runs twice, and none for a lost lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from streaming_chat.protocol.events import Event

from .event_loops import call_in_loop


class NotedCall(NamedTuple):
    """A call that is to run, or for which the reply waits. digest: of its tool."""

    call_id: str
    digest: str
    is_idempotent: bool


class CallLog:
    """Of one run. starts: calls that are to run, in order. noted: how often something was noted that should be saved soon.

    waits: calls for which the reply waits. approval: the last event then; readers see it once it is saved, since a client
    may answer at once.
    """

    __slots__ = ("_loop", "_saved", "_waiters", "approval", "noted", "starts", "waits")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.starts: list[NotedCall] = []
        self.waits: list[NotedCall] = []
        self.approval: Event | None = None
        self.noted = 0
        self._loop = loop
        self._saved = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def is_due(self) -> bool:
        """Whether something should be saved soon. From any thread."""
        return self.noted > self._saved

    def note_results(self) -> None:
        """Note that there are results. In the loop."""
        self.noted += 1

    def note_starts(self, calls: Iterable[NotedCall]) -> asyncio.Future[None]:
        """Note that these calls are to run; the future is done once that is committed. In the loop."""
        self.starts += calls
        self.noted += 1
        saved = self._loop.create_future()
        self._waiters.append((len(self.starts), saved))
        return saved

    def confirm(self, starts: int, noted: int) -> None:
        """Note that so many starts, and all that was noted until then, are committed. From the writer's thread."""
        self._saved = noted
        if self._waiters:
            call_in_loop(self._loop, self._confirm, starts)

    def _confirm(self, starts: int) -> None:
        for needed, saved in self._waiters:
            if needed <= starts and not saved.done():
                saved.set_result(None)
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
