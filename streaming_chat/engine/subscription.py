"""A reader's place among the readers of a stream, and among those of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .stream import ReplyStream, Waiter

# When this process ends a stream early, its client reconnects after `retry`, a second: later only if all workers are busy.
RECONNECT_SECONDS = 30.0


class Subscription:
    """Opened once, and closed by any thread, however often.

    register: called with the reader when this opens; returns a function that unregisters it, which is called when this
    closes. keeps_alive: whether the reply goes on for this reader.
    """

    __slots__ = ("_keeps_alive", "_register", "_stream", "_unregister", "_waiter", "is_closed")

    def __init__(
        self,
        stream: ReplyStream,
        waiter: Waiter,
        *,
        register: Callable[[Any], Callable[[], object]] | None,
        keeps_alive: bool,
    ) -> None:
        self._stream = stream
        self._waiter = waiter
        self._register = register
        self._keeps_alive = keeps_alive
        self._unregister: Callable[[], object] | None = None
        self.is_closed = False

    def open(self, reader: Any) -> None:
        """Have the stream wake the waiter, and register the reader."""
        self._stream.attach(self._waiter, keeps_alive=self._keeps_alive)
        if self._register is not None:
            self._unregister = self._register(reader)

    def close(self, seconds: float = 0) -> bool:
        """Leave; True the first time. seconds: for which the stream still counts the reader."""
        if self.is_closed:
            return False
        self.is_closed = True
        self._stream.detach(self._waiter, seconds)
        if self._unregister is not None:
            self._unregister()
        return True
