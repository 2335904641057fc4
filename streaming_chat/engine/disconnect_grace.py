"""How long a reply goes on when nobody reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# A client may leave before the first byte: a reply that no reader has met yet goes on for at least so long.
_FIRST_READER_SECONDS = 5.0


class GracePeriod:
    """The time from the last reader's leaving until the writer asks whether another process has a reader.

    seconds: None if the reply goes on to its end without readers. is_over: it has passed, and no reader has come since.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float | None) -> None:
        self._loop = loop
        self._seconds = seconds
        self._has_met_reader = False
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False

    def start(self, on_over: Callable[[], object]) -> None:
        """Start when there is no reader; `on_over` is called when the time has passed."""
        self.cancel()
        if self._seconds is not None:
            wait = self._seconds if self._has_met_reader else max(self._seconds, _FIRST_READER_SECONDS)
            self._timer = self._loop.call_later(wait, self._end, on_over)

    def end_with_reader(self) -> None:
        """End it early: a reader has come."""
        self.cancel()
        self._has_met_reader = True

    def cancel(self) -> None:
        """Neither pass nor have passed."""
        self.is_over = False
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, on_over: Callable[[], object]) -> None:
        self.is_over = True
        on_over()
