"""What must be saved of a reply's tool calls besides their events, and must be saved before it happens.

The run's loop notes that calls are to run. The writer saves that in the transaction with their events, under the lock of the
lease, and confirms it after the commit. Only then do the tools run, so none runs twice, and none for a lost lease. Their
results are committed before the provider is asked again, so that a process that takes over the reply does not ask, too.
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

    def note(self, starts: Iterable[NotedCall] = ()) -> None:
        """Note that there are results, or that these calls are to run. In the loop."""
        self.starts += starts
        self.noted += 1

    async def saved(self) -> None:
        """Return once all that has been noted until now is committed. In the loop."""
        saved = self._loop.create_future()
        # Before the look: the writer's thread looks for waiters after it has changed the number.
        self._waiters.append((self.noted, saved))
        self._confirm(self._saved)
        await saved

    def confirm(self, noted: int) -> None:
        """Note that what was noted is committed, up to this number. From the writer's thread."""
        self._saved = noted
        if self._waiters:
            call_in_loop(self._loop, self._confirm, noted)

    def _confirm(self, noted: int) -> None:
        for number, saved in self._waiters:
            if number <= noted and not saved.done():
                saved.set_result(None)
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
