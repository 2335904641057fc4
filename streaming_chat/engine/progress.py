"""How far the saving of each run has come: its state, with a table of the transitions, and what else is known of it."""

from __future__ import annotations

import enum
import math
import threading
import uuid

from streaming_chat.notifiers import get_notifier

from .run import Run


class SavingState(enum.Enum):
    """Where the saving of a run is."""

    # Its events are saved as they come, and its ending once it has one.
    OPEN = "open"
    # A commit with its ending is in flight: it may happen or not.
    COMMITTING = "committing"
    # The answer to that commit has not come for so long that it is no longer waited for.
    OVERDUE = "overdue"
    # Its ending is saved, and sent to its readers.
    SAVED = "saved"
    # Its ending could not be saved in time; its readers get `not_saved`, and the journal keeps it if it can.
    GIVEN_UP = "given up"
    # The process ends; the journal keeps the ending for another process, and readers are sent none.
    HANDED_OVER = "handed over"


_S = SavingState
TRANSITIONS: dict[SavingState, frozenset[SavingState]] = {
    _S.OPEN: frozenset({_S.COMMITTING, _S.GIVEN_UP, _S.HANDED_OVER}),
    _S.COMMITTING: frozenset({_S.OPEN, _S.OVERDUE, _S.SAVED, _S.HANDED_OVER}),
    _S.OVERDUE: frozenset({_S.OPEN, _S.SAVED, _S.GIVEN_UP, _S.HANDED_OVER}),
    _S.SAVED: frozenset(),
    _S.GIVEN_UP: frozenset(),
    _S.HANDED_OVER: frozenset(),
}


class Progress:
    """The saving of one run. The run's attributes are read in the writer's thread; its methods only hand over to its loop.

    `move` may be called in any thread: the thread that moves it to a final state informs the run's readers. The other
    attributes are written by the thread that saves the run, except for is_flush_requested, waiting_since and
    is_over_memory.
    """

    __slots__ = (
        "_lock",
        "has_lost_lease",
        "index",
        "is_flush_requested",
        "is_isolated",
        "is_over_memory",
        "is_published",
        "is_uncertain",
        "lease_renewed_at",
        "position",
        "run",
        "starts",
        "state",
        "waiting_since",
        "weight",
    )

    def __init__(self, run: Run) -> None:
        self.run = run
        self.state = SavingState.OPEN
        self._lock = threading.Lock()
        # Of the first event that is not saved.
        self.index, self.position = run.own_index, run.own_position
        # Of the events before it.
        self.weight = 0
        # How many of its tool calls that are to run are saved.
        self.starts = 0
        # The answer to the last commit did not come: it may have happened, or may yet.
        self.is_uncertain = False
        # Its ending was not saved, since its lease is another process's, or it is not live any more.
        self.has_lost_lease = False
        # It could not be saved by itself; it has a transaction of its own until it can, and does not hold up the others.
        self.is_isolated = False
        # Its events are published to followers in other processes.
        self.is_published = False
        # By this process's monotonic clock.
        self.lease_renewed_at = -math.inf
        # Another process asked for a stop, or follows it.
        self.is_flush_requested = False
        # Since when it has had an ending that is not saved, by the monotonic clock.
        self.waiting_since: float | None = None
        # It was ended because too much was waiting in memory.
        self.is_over_memory = False

    @property
    def message_id(self) -> uuid.UUID:
        return self.run.message_id

    @property
    def is_final(self) -> bool:
        """Whether nothing more will be saved of it."""
        return not TRANSITIONS[self.state]

    @property
    def has_saved_events(self) -> bool:
        """Whether the database may have rows of its events: saved by this process, or those of a continued reply."""
        # The start takes the first position and has no row.
        return self.is_uncertain or self.position > 1

    @property
    def is_urgent(self) -> bool:
        """Whether it is saved at once, not at the next interval."""
        return self.run.is_urgent or self.is_flush_requested

    @property
    def unsaved(self) -> int:
        """The weight of the events that are not known to be saved."""
        return self.run.weight - self.weight

    @property
    def to_save(self) -> int:
        """The weight of what the next transaction would save: of the whole reply if it has ended."""
        return self.unsaved if self.run.outcome is None else self.run.weight

    def move(self, to: SavingState) -> bool:
        """Go to this state; False, and nothing changes, if the table does not have the transition."""
        with self._lock:
            if to not in TRANSITIONS[self.state]:
                return False
            self.state = to
            return True

    def advance(self, index: int, position: int, weight: int | None = None) -> None:
        """Note that everything before this event is saved. weight: None if it is not known, and less than was saved."""
        self.index, self.position = index, position
        self.weight = self.weight if weight is None else weight

    def publish(self) -> None:
        """Publish its events to other processes from now on, beside saving them."""
        self.is_published = True
        get_notifier().publish(self.message_id, self.run.events)

    def stop_publishing(self) -> None:
        if self.is_published:
            self.is_published = False
            get_notifier().stop_publishing(self.message_id)
