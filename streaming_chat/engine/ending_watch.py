"""Looks after runs beside the writer's thread, which a database that does not answer may keep waiting.

An ending that cannot be saved for ENDING_SECONDS is given up: its readers get `not_saved`, and the journal keeps it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable

from streaming_chat.logs import logger

from .ending_journal import Record, journal
from .progress import Progress, SavingState

# How long in seconds the ending of a reply is tried to be saved while the database is away.
ENDING_SECONDS = 30.0
# How much longer if it is in a commit whose answer does not come: that commit may have happened.
_COMMIT_SECONDS = 5.0
# The largest weight that waits in memory, of all replies; a code point takes 1 to 4 bytes.
_MOST_UNSAVED = 64_000_000


class EndingWatch:
    """Gives up endings that cannot be saved, and bounds the memory that unsaved text takes.

    runs: those of the writer; a run that is given up is removed. journaled: called when the journal keeps its ending.
    """

    def __init__(self, runs: dict[uuid.UUID, Progress], worker: str, journaled: Callable[[], object]) -> None:
        self._runs = runs
        self._worker = worker
        self._journaled = journaled

    def look(self) -> None:
        """Look at all runs once. Never asks the database."""
        runs = list(self._runs.values())
        for progress in runs:
            if progress.run.is_orphaned:
                progress.run.shut_down()
        for progress in runs:
            if self._is_overdue(progress):
                self._give_up(progress)
        self._bound_memory(runs)

    def hand_over(self) -> None:
        """Leave unsaved endings to another process: this one ends. From any thread.

        No reader was sent an ending, so each stays what it is; clients find it when they come back.
        """
        for progress in list(self._runs.values()):
            if progress.move(SavingState.HANDED_OVER):
                journal.put(Record.unsent(progress.run, self._worker), in_memory=False)
                self._runs.pop(progress.message_id, None)
                progress.run.dismiss()

    def _is_overdue(self, progress: Progress) -> bool:
        """Return whether an ending has waited for so long that it is given up."""
        if progress.run.outcome is None:
            return False
        if progress.waiting_since is None:
            progress.waiting_since = time.monotonic()
        waited = time.monotonic() - progress.waiting_since
        timeout = 0.0 if progress.is_over_memory else ENDING_SECONDS
        if waited >= timeout + _COMMIT_SECONDS:
            progress.move(SavingState.OVERDUE)
        return waited >= timeout

    def _give_up(self, progress: Progress) -> None:
        # While it is complete: the run is gone once its readers have the ending.
        record = Record.not_saved(progress.run, self._worker)
        if not progress.move(SavingState.GIVEN_UP):
            return
        logger.error("The ending of reply %s could not be saved.", progress.message_id)
        if journal.put(record, in_memory=not progress.is_over_memory):
            self._journaled()
        self._runs.pop(progress.message_id, None)
        progress.stop_publishing()
        progress.run.mark_saved(record.completion.payload, record.completion.end_position)

    def _bound_memory(self, runs: Iterable[Progress]) -> None:
        """End the heaviest replies when too much waits; they are given up as soon as they have ended."""
        sizes = {progress: progress.unsaved for progress in runs}
        excess = sum(sizes.values()) + journal.weight_in_memory - _MOST_UNSAVED
        for progress in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if excess <= 0:
                return
            excess -= sizes[progress]
            if not progress.is_over_memory:
                logger.error("There is no memory left for reply %s, which is not saved yet.", progress.message_id)
                progress.is_over_memory = True
                progress.run.end_unsaved()
