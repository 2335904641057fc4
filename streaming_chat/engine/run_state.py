"""The states of a run, and the steps between them."""

from __future__ import annotations

import threading
from enum import StrEnum


class RunState(StrEnum):
    """Where a run is in its life.

    starting    the provider has sent nothing yet
    receiving   something has been received
    stopping    the ending is decided, and the provider is letting go of the connection
    concluded   no more events are accepted; the ending waits to be saved
    saved       the ending is in the database, written by this process or by another
    dismissed   this process ends, and the ending waits in the journal for another one
    """

    STARTING = "starting"
    RECEIVING = "receiving"
    STOPPING = "stopping"
    CONCLUDED = "concluded"
    SAVED = "saved"
    DISMISSED = "dismissed"


# A run that its provider ends, or whose loop does, needs no stop. Another process may save the ending at any time, when it
# has taken this worker for dead.
STEPS: dict[RunState, frozenset[RunState]] = {
    RunState.STARTING: frozenset(
        {RunState.RECEIVING, RunState.STOPPING, RunState.CONCLUDED, RunState.SAVED, RunState.DISMISSED}
    ),
    RunState.RECEIVING: frozenset({RunState.STOPPING, RunState.CONCLUDED, RunState.SAVED, RunState.DISMISSED}),
    RunState.STOPPING: frozenset({RunState.CONCLUDED, RunState.SAVED, RunState.DISMISSED}),
    RunState.CONCLUDED: frozenset({RunState.SAVED, RunState.DISMISSED}),
    RunState.SAVED: frozenset(),
    RunState.DISMISSED: frozenset(),
}


class StateMachine:
    """The state of one run. Any thread may ask for a step: the loop receives and stops, the writer's thread saves."""

    __slots__ = ("_lock", "current")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.current = RunState.STARTING

    def advance(self, to: RunState) -> RunState | None:
        """Take a step and return the state that it left; None if the table has no such step, and nothing changes.

        Of two that ask for the same step, the first gets it.
        """
        with self._lock:
            left = self.current
            if to not in STEPS[left]:
                return None
            self.current = to
            return left


class EndedFlag:
    """Set once, and waited for in threads. A `threading.Event` takes 1 KB, which each open reply would hold."""

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        # Held until the flag is set.
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Set it, and wake the threads that wait. Call it exactly once."""
        self._is_set = True
        self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Return True once it is set, False after so many seconds."""
        if self._lock.acquire(timeout=-1 if seconds is None else seconds):
            self._lock.release()
        return self._is_set
