"""The one thread of a process that saves what its runs receive, and each ending exactly once.

All runs' new events go into one transaction, at most every FLUSH_SECONDS. Readers get an ending only after its
commit. While the database is away, text waits in memory; endings are tried for 30 s, then the journal keeps them and
readers get `not_saved`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from streaming_chat.background_threads import BackgroundThread
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.kept_connections import keep_connections, seconds_kept
from streaming_chat.logs import describe, logger
from streaming_chat.notifiers import get_notifier

from .ending_watch import EndingWatch
from .flusher import Flusher
from .progress import Progress
from .recovery import Takeover
from .run import Run
from .saver import Saver
from .transaction_saver import TransactionSaver

# Endings that come together are saved together: 20 ms are not noticed, and 100 replies that end at once cost one commit.
_LINGER_SECONDS = 0.02
# Stops that other processes asked for are read at least this often.
_STOPS_SECONDS = 1.0
_WATCH_SECONDS = 0.5
# After so many seconds without an answer from the database, the writer counts as not working.
_NOT_WORKING_SECONDS = 10.0


class Writer:
    """Saves the runs of this process. Its threads are started with the first run, and again after a fork."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a child of a fork: the threads, and what they save, are the parent's."""
        self.worker = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._busy = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._is_close_due = False
        self._is_flush_due = False
        self._next_flush = 0.0
        # The runs whose readers have not been sent an ending.
        self._runs: dict[uuid.UUID, Progress] = {}
        self._flusher = Flusher(Saver(self.worker))
        self._takeover = Takeover(self._runs)
        self._ending_watch = EndingWatch(self._runs, self.worker, self._replay_soon)
        self._transaction_saver = TransactionSaver(self.worker)
        self._thread = BackgroundThread("streaming_chat.writer", self._work)
        self._watcher = BackgroundThread("streaming_chat.writer_watch", self._watch)

    @property
    def is_working(self) -> bool:
        """Whether replies can be saved: False if a thread has died, or the database has not answered for 10 s."""
        is_dead = self._thread.is_dead or self._watcher.is_dead
        return not is_dead and self._flusher.seconds_without_answer < _NOT_WORKING_SECONDS

    def expect(self, message_id: uuid.UUID) -> None:
        """Prepare for the run of a reply whose rows the caller is about to make. In the caller's thread."""
        self._transaction_saver.expect(message_id)

    def add(self, run: Run) -> None:
        """Save this run's events and its ending from now on. In the run's loop, in its caller's context."""
        progress = Progress(run)
        if self._transaction_saver.add(progress):
            return
        with self._lock:
            self._runs[run.message_id] = progress
            self._idle.clear()
        self._thread.start()
        self._watcher.start()
        self._busy.set()
        self._wake.set()

    def flush_soon(self) -> None:
        """Save soon: a reply has ended, or has no reader. From any thread."""
        self._is_flush_due = True
        self._wake.set()
        self._transaction_saver.flush_soon()

    def flush_replies(self, message_ids: Iterable[uuid.UUID]) -> None:
        """Read the rows of these now: another process asked for a stop, or follows them. From any thread."""
        own = [progress for pk in message_ids if (progress := self._runs.get(pk))]
        for progress in own:
            progress.is_flush_requested = True
        if own:
            self.flush_soon()

    def saves_in_transaction(self, message_id: uuid.UUID) -> bool:
        """Return whether the rows of this reply are in a transaction of a caller's, as in a `TestCase`."""
        return self._transaction_saver.has(message_id)

    def save_in_transaction(self) -> None:
        """Save the runs whose rows are in a transaction of the calling thread, as in a `TestCase`; else do nothing."""
        self._transaction_saver.save()

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is left to save, and close the connection, however old; False if that takes longer."""
        if not self._idle.is_set():
            self._is_close_due = True
            self._wake.set()
        return self._idle.wait(seconds)

    def hand_over(self) -> None:
        """Leave unsaved endings to another process: this one ends. From any thread."""
        self._ending_watch.hand_over()

    @property
    def _has_work(self) -> bool:
        return bool(self._runs or self._takeover.is_replay_due)

    def _work(self) -> None:
        """One turn of the thread: save until nothing is left, and wait for more."""
        if self._has_work:
            self._listen()
            self._save_until_idle()
            self._rest()
        kept = self._keep_connections()
        if not self._has_work:
            self._wake.wait(seconds_kept(kept))
            self._wake.clear()

    def _listen(self) -> None:
        with _notifier_may_fail():
            get_notifier().listen(self.worker, self.flush_replies, live_database())

    def _rest(self) -> None:
        with self._lock:
            if not self._runs:
                with _notifier_may_fail():
                    get_notifier().stop_listening()
                self._busy.clear()

    def _keep_connections(self) -> list[BaseDatabaseWrapper]:
        """Close the connections that CONN_MAX_AGE does not keep, or all if a test waits for that; return the others."""
        if self._is_close_due:
            connections.close_all()
        kept = keep_connections()
        with self._lock:
            if not kept and not self._has_work:
                self._is_close_due = False
                self._idle.set()
        return kept

    def _save_until_idle(self) -> None:
        """Save all runs once an interval, and between those what cannot wait: endings, and stops of unfollowed replies."""
        self._schedule_flush()
        while self._has_work:
            self._wait_until_due()
            if self._flush(self._due_runs()):
                self._take_over()

    def _flush(self, runs: Sequence[Progress]) -> bool:
        was_away = self._flusher.is_away
        is_saved = self._flusher.flush(runs)
        for progress in runs:
            # A reply that has waited may be gone on with already.
            if progress.is_final and self._runs.get(progress.message_id) is progress:
                self._runs.pop(progress.message_id, None)
        if was_away and is_saved:
            # Also the endings of other processes, which may be gone.
            self._takeover.replay_soon()
        return is_saved

    def _wait_until_due(self) -> None:
        while not self._is_flush_due and (left := self._next_flush - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
        if self._is_flush_due:
            time.sleep(_LINGER_SECONDS)
            self._is_flush_due = False

    def _due_runs(self) -> list[Progress]:
        """Return all runs once an interval, else the urgent ones: 50 requests a second must not save 50 runs each."""
        runs = list(self._runs.values())
        if time.monotonic() < self._next_flush:
            runs = [progress for progress in runs if progress.is_urgent]
        else:
            self._schedule_flush()
        for progress in runs:
            progress.is_flush_requested = False
        return runs

    def _schedule_flush(self) -> None:
        self._next_flush = time.monotonic() + min(conf.STREAMING_CHAT_FLUSH_SECONDS, _STOPS_SECONDS)

    def _take_over(self) -> None:
        try:
            self._takeover.work()
        except (DatabaseError, InterfaceError) as error:
            self._flusher.note_outage(error)
        except Exception as error:  # noqa: BLE001  (a folder that cannot be read, a row of a newer version)
            logger.error("What other processes left could not be saved: %s", describe(error))

    def _replay_soon(self) -> None:
        """Have the thread wait for the database, also when nothing is live any more."""
        self._takeover.replay_soon()
        self._idle.clear()
        self._wake.set()

    def _watch(self) -> None:
        """One turn of the second thread, which looks after the runs while the first one waits for the database."""
        self._busy.wait()
        time.sleep(_WATCH_SECONDS)
        self._thread.start()
        self._ending_watch.look()


@contextlib.contextmanager
def _notifier_may_fail() -> Iterator[None]:
    """Log what a site's own notifier raises. Without it, stops of other processes are read at each flush."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (whatever it is, replies must be saved)
        logger.error("The notifier failed: %s", describe(error))


writer = Writer()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=writer.reset)
