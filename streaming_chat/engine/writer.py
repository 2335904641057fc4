"""The one thread of a process that saves what its runs receive, and each ending exactly once.

All runs' new events go into one transaction, at most every FLUSH_SECONDS: 100 streams cost two commits a second. A
reader is told of an ending only after its commit. While the database is away text waits in memory, and endings for so
long as readers have patience; then they go where they wait for it (journal.py), and readers are told so.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Sequence

from django.db import DatabaseError, InterfaceError, connections

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.logs import describe, logger
from streaming_chat.models import LiveReply
from streaming_chat.notifiers import get_notifier

from .batch import Ledger, Saved
from .journal import Record, journal
from .recovery import recover_abandoned
from .transaction_saver import TransactionSaver

# Endings that come together are saved together: 20 ms are not noticed, and 100 replies that end at once cost one commit.
_LINGER_SECONDS = 0.02
# Stops of other processes are read at least this often.
_STOPS_SECONDS = 1.0
# How long the ending of a reply is tried to be saved while the database is away.
_ENDING_SECONDS = 30.0
# A commit whose answer does not come may have happened: it is waited for a while longer.
_COMMIT_SECONDS = 5.0
# Between tries while it is away, each on a fresh connection.
_AWAY_SECONDS = 0.5
# A database that answers and saves nothing may be blocked by one reply: how often that is looked for.
_DIVISION_SECONDS = 5.0
# How often a second thread looks at what the writer, which a database may keep waiting, could not.
_WATCH_SECONDS = 0.5
# Most code points that wait in memory, of all replies; a code point takes 1 to 4 bytes.
_MOST_UNSAVED = 64_000_000
# Endings that are replayed at once, so that a full folder holds up no live reply: 20 take about 0.1 s.
_REPLAYS = 20


class Writer:
    """The thread, made at the first run and again after a fork."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.reset()

    def expect(self, message_id: uuid.UUID) -> None:
        """Prepare for the run of a reply whose rows the caller is about to make. In the caller's thread."""
        self._transaction_saver.expect(message_id)

    def add(self, run: Saved) -> None:
        """Save this run's events and its ending from now on. In the run's loop, in the context of who starts it."""
        if self._transaction_saver.add(run):
            return
        with self._lock:
            self._runs[run.message_id] = run
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="streaming_chat.writer", daemon=True)
                self._thread.start()
                threading.Thread(target=self._watch, name="streaming_chat.watch", daemon=True).start()
        self._busy.set()
        self._wake.set()

    def hurry(self) -> None:
        """Save soon: a reply has ended, or is deserted. From any thread."""
        self._hurried = True
        self._wake.set()
        self._transaction_saver.flush_soon()

    def save_in_transaction(self) -> None:
        """Save the runs whose rows are in a transaction of the calling thread's, as in a `TestCase`; else do nothing."""
        self._transaction_saver.save()

    def look_at(self, message_ids: Iterable[uuid.UUID]) -> None:
        """Read the rows of these now: another process asked for a stop, or follows. From any thread."""
        if mine := self._runs.keys() & message_ids:
            self._asked |= mine
            self.hurry()

    @property
    def worker(self) -> str:
        """The name under which this process claims its replies."""
        return self._ledger.worker

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is left to save and the connection is closed; False when that took longer."""
        return self._idle.wait(seconds)

    def leave(self) -> None:
        """Let the endings that are not saved wait for the next process: this one ends. From any thread.

        No reader was told of them, so they are what they are; clients find them when they come back.
        """
        for run in list(self._runs.values()):
            if self._take(run, in_doubt=True):
                journal.put(Record.of(run, self.worker, told=False), keep=False)
                run.dismiss()

    def reset(self) -> None:
        """Begin anew, in a child of a fork: the threads, and what they save, are the parent's."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._busy = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._hurried = False
        self._asked: set[uuid.UUID] = set()
        # Those whose readers are to be told of an ending yet; whoever takes one out tells them.
        self._runs: dict[uuid.UUID, Saved] = {}
        # Those of the commit under way.
        self._sealed: frozenset[uuid.UUID] = frozenset()
        self._ended_since: dict[uuid.UUID, float] = {}
        self._refused: set[uuid.UUID] = set()
        self._is_away = False
        self._failures = 0
        self._next_division = 0.0
        # Other processes' endings may wait from before.
        self._is_replay_due = True
        self._next_recovery = 0.0
        self._thread = None
        self._ledger = Ledger(uuid.uuid4().hex, seal=self._seal, take=self._take)
        self._transaction_saver = TransactionSaver(self.worker)

    def _seal(self, message_ids: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
        with self._lock:
            given_up = set(message_ids) - self._runs.keys()
            self._sealed = frozenset() if given_up else frozenset(message_ids)
            return given_up

    def _take(self, run: Saved, *, in_doubt: bool = True) -> bool:
        """Take the right to tell its readers. in_doubt: also while a commit is under way, which may happen or not."""
        with self._lock:
            if run.message_id in self._sealed and not in_doubt:
                return False
            self._ended_since.pop(run.message_id, None)
            self._refused.discard(run.message_id)
            return self._runs.pop(run.message_id, None) is not None

    @property
    def _has_work(self) -> bool:
        return bool(self._runs or self._is_replay_due)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if not self._has_work:
                continue
            get_notifier().listen(self.worker, self.look_at, live_database())
            self._save_until_idle()
            connections.close_all()
            with self._lock:
                if not self._runs:
                    get_notifier().stop_listening()
                    self._idle.set()
                    self._busy.clear()

    def _save_until_idle(self) -> None:
        """Save all runs once an interval, and between those what cannot wait: endings, and stops of deserted replies."""
        due = self._next_flush()
        while self._has_work:
            while not self._hurried and (left := due - time.monotonic()) > 0:
                self._wake.wait(left)
                self._wake.clear()
            if self._hurried:
                time.sleep(_LINGER_SECONDS)
                self._hurried = False
            asked, self._asked = self._asked, set()
            runs = list(self._runs.values())
            if time.monotonic() < due:
                # 50 requests a second would have saved 50 live replies 50 times a second.
                runs = [run for run in runs if run.outcome or run.is_deserted or run.message_id in asked]
            else:
                due = self._next_flush()
            if self._flush_safely(runs):
                self._look_after_others()

    def _next_flush(self) -> float:
        return time.monotonic() + min(conf.STREAMING_CHAT_FLUSH_SECONDS, _STOPS_SECONDS)

    def _flush_safely(self, runs: Sequence[Saved]) -> bool:
        """Save what these runs have; False when the database is away, after a pause."""
        try:
            outage = self._flush(runs)
        except Exception as error:  # noqa: BLE001  (a thread that died would leave every reply of this process unsaved)
            logger.error("Saving failed: %s", describe(error))
            outage = error
        finally:
            self._sealed = frozenset()
        if outage is None:
            if runs:
                lease_judge.database_answered()
            self._note_answer()
            return True
        self._note_outage(outage)
        time.sleep(min(conf.STREAMING_CHAT_FLUSH_SECONDS, _AWAY_SECONDS))
        return False

    def _flush(self, runs: Sequence[Saved]) -> Exception | None:
        """Save what these runs have, on a fresh connection where the old one is broken; return why that failed."""
        using = live_database()
        if self._is_away and (outage := _probe(using)):
            return outage
        is_fresh = self._is_away or connections[using].connection is None
        outage = self._ledger.save(runs, divide=self._is_division_due()).outage
        if outage is not None and not is_fresh:
            connections.close_all()
            outage = self._ledger.save([run for run in runs if run.message_id in self._runs]).outage
        self._failures = 0 if outage is None else self._failures + 1
        return outage

    def _is_division_due(self) -> bool:
        """Return whether saving has failed again and again, though the database answers."""
        if self._failures < 2 or time.monotonic() < self._next_division:
            return False
        self._next_division = time.monotonic() + _DIVISION_SECONDS
        return True

    def _note_outage(self, outage: Exception) -> None:
        lease_judge.database_failed()
        connections.close_all()
        if not self._is_away:
            self._is_away = True
            logger.warning("The database is away; %d replies wait in memory: %s", len(self._runs), describe(outage))

    def _note_answer(self) -> None:
        if self._is_away:
            self._is_away = False
            # Also of other processes, which may be gone.
            self._is_replay_due = True
            logger.info("The database answers again.")

    def _look_after_others(self) -> None:
        """Save endings that wait, and end the replies of dead workers; each in a transaction of its own."""
        try:
            if self._is_replay_due:
                # First, since the other thread may put more there meanwhile.
                self._is_replay_due = False
                _saved, more = journal.replay(_REPLAYS)
                self._is_replay_due |= more
            else:
                self._recover_abandoned()
        except (DatabaseError, InterfaceError) as error:
            self._is_replay_due = True
            self._note_outage(error)
        except Exception as error:  # noqa: BLE001  (as in _flush_safely: JOURNAL_DIR may be unreadable, a row from tomorrow)
            logger.error("What others left could not be saved: %s", describe(error))

    def _recover_abandoned(self) -> None:
        """End them once a lease, some between two flushes; see lease_judge.py."""
        if time.monotonic() < self._next_recovery or not lease_judge.may_expire_others:
            return
        # By run, not by worker: an ending of ours that was given up is nobody's, too.
        settled, more = recover_abandoned(LiveReply.objects.all(), but=self._runs)
        if not (settled and more):
            self._next_recovery = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS

    def _watch(self) -> None:
        """Look after the runs beside the writer's thread, which waits for a database that may not answer at all."""
        busy = self._busy
        while self._busy is busy:
            busy.wait()
            time.sleep(_WATCH_SECONDS)
            try:
                self._look_at_runs()
            except Exception as error:  # noqa: BLE001  (it must look again)
                logger.error("Waiting replies could not be looked at: %s", describe(error))

    def _look_at_runs(self) -> None:
        runs = list(self._runs.values())
        for run in runs:
            if run.is_orphaned:
                run.shut()
        self._give_up(runs)
        self._bound_memory(runs)

    def _give_up(self, runs: Iterable[Saved]) -> None:
        """Tell the readers of replies whose ending could not be saved for so long; it waits elsewhere."""
        now = time.monotonic()
        for run in runs:
            if run.outcome is None:
                continue
            is_refused = run.message_id in self._refused
            waited = now - self._ended_since.setdefault(run.message_id, now)
            patience = 0.0 if is_refused else _ENDING_SECONDS
            if waited < patience:
                continue
            record = Record.of(run, self.worker, told=True)
            if self._take(run, in_doubt=waited >= patience + _COMMIT_SECONDS):
                logger.error("The ending of reply %s could not be saved.", run.message_id)
                if journal.put(record, keep=not is_refused):
                    self._resume_later()
                self._ledger.forget(run)
                run.saved(record.payload, record.end_position)
        # Noted above though they were saved meanwhile.
        for pk in list(self._ended_since):
            if pk not in self._runs:
                self._ended_since.pop(pk, None)

    def _resume_later(self) -> None:
        """Have the thread wait for the database, also when nothing is live any more."""
        self._is_replay_due = True
        self._idle.clear()
        self._wake.set()

    def _bound_memory(self, runs: Iterable[Saved]) -> None:
        """End the longest replies when too much waits; they are given up as soon as they have ended."""
        sizes = {run: self._ledger.unsaved(run) for run in runs}
        excess = sum(sizes.values()) + journal.kept_units - _MOST_UNSAVED
        for run in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if excess <= 0:
                return
            excess -= sizes[run]
            if run.message_id not in self._refused:
                logger.error("There is no memory for reply %s, which waits to be saved.", run.message_id)
                self._refused.add(run.message_id)
                run.refuse()


def _probe(using: str) -> Exception | None:
    """Return why a fresh connection could not write. As cheap as can be: it is tried while everything waits."""
    connections.close_all()
    try:
        LiveReply.objects.using(using).filter(worker="").update(worker="")
    except (DatabaseError, InterfaceError) as error:
        return error
    return None


writer = Writer()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=writer.reset)
