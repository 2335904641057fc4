"""Background threads that an error does not end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streaming_chat.logs import describe, logger

# After an error, so that one which comes back at once does not fill the log.
_PAUSE_SECONDS = 1.0


class BackgroundThread:
    """A daemon thread that calls `turn` again and again. An error is logged, and the next turn follows.

    turn: one turn of the work; waits until there is something to do. A child of a fork needs a new object: threads stay with
    the parent.
    """

    def __init__(self, name: str, turn: Callable[[], object]) -> None:
        self._name = name
        self._turn = turn
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def is_dead(self) -> bool:
        """Whether the thread was started and has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, or start it again if it has ended. From any thread, however often."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            if self._thread is not None:
                logger.error("The thread %s had ended and is started again.", self._name)
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  (one failure must not end the thread)
                logger.error("The thread %s failed and goes on: %s", self._name, describe(error))
                time.sleep(_PAUSE_SECONDS)
