"""Keeps endings that could not be saved until the database answers: in JOURNAL_DIR, one file a reply, or in memory.

Files are replayed by the process that wrote them, by another process's first flush, and by `manage.py recoverreplies`,
each file by one of them: it is taken by renaming it. They hold what people wrote: only the app's user may read them.

<message>.json              waits to be replayed
<message>.<token>.taken     is being replayed; one whose process died is replayed after a minute
<message>.fenced            another process had ended the reply; kept for the site's operators, as are .refused (by the
                            database) and .unreadable
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from django.db.models.functions import Now

from streaming_chat import private_files
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_locked
from streaming_chat.db.transactions import write_transaction
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.tool_calls import CANCELLED, LOST, NOT_RUN, UNKNOWN, open_calls, result

from .completion import Completion, LeaseLost, end_reply, is_same_ending
from .run import Run

_VERSION = 1
_WAITING, _UNREADABLE = ".json", ".unreadable"
# A replay takes milliseconds; a process that has a file for longer has died, or was paused and does no harm.
_TAKEN_SECONDS = 60.0
# Longest wait for a lock: live replies, and the records after this one, wait meanwhile.
_LOCK_SECONDS = 0.1
# Before a record is tried again that could not be replayed.
_RETRY_SECONDS = 10.0


class Replay(enum.Enum):
    """What became of a record."""

    SAVED = enum.auto()
    # It was saved before, or its conversation was deleted or erased.
    OBSOLETE = enum.auto()
    # Its rows are locked, or something failed: it is tried again.
    POSTPONED = enum.auto()
    # Another process had ended the reply.
    FENCED = enum.auto()
    REFUSED = enum.auto()


# Under which the files of records are kept that are not removed.
_SUFFIXES = {Replay.POSTPONED: _WAITING, Replay.FENCED: ".fenced", Replay.REFUSED: ".refused"}


class Replayed(NamedTuple):
    """What a replay did: the replies whose endings it saved, and whether more records wait."""

    saved: list[uuid.UUID]
    is_more: bool


@dataclass(frozen=True, repr=False)
class Record:
    """The end of one reply, as it is kept. Its repr is the default one: no text in logs.

    completion: with the ending that readers were sent, or will be. outcome: the ending that could not be saved; a commit
    whose answer did not come may have saved it.
    """

    completion: Completion
    outcome: Ending

    @classmethod
    def not_saved(cls, run: Run, worker: str) -> Record:
        """Return the record of a run whose readers are sent `not_saved`."""
        own = cls.unsent(run, worker)
        outcome, completion = own.outcome, own.completion
        broken = endings.broken("not_saved", received=bool(completion.received), ref=outcome.ref)
        ending = Ending(broken.status, broken.end_reason, broken.error_code, broken.ref, outcome.cut_position)
        return cls(completion.with_ending(ending), outcome)

    @classmethod
    def unsent(cls, run: Run, worker: str) -> Record:
        """Return the record of a run whose readers are sent no ending: its own outcome stands."""
        received = list(events.merge(run.events[1:]))
        outcome = run.outcome or endings.broken("shutdown", received=bool(received))
        if run.is_waiting:
            # That nobody can answer to, since it is not saved.
            outcome = endings.broken("shutdown", received=True)
        received += _results(run, received)
        completion = Completion(
            run.message_id,
            run.conversation_id,
            worker,
            outcome,
            received,
            run.columns(),
            provider_states=run.provider_states,
        )
        return cls(completion, outcome)

    @property
    def message_id(self) -> uuid.UUID:
        return self.completion.message_id

    def encode(self) -> bytes:
        """Return it as JSON."""
        completion = self.completion
        return json.dumps(
            {
                "version": _VERSION,
                "message": str(completion.message_id),
                "conversation": str(completion.conversation_id),
                "worker": completion.worker,
                "ending": asdict(completion.ending),
                "outcome": asdict(self.outcome),
                "parts": events.to_parts(completion.received),
                "fields": completion.fields,
                "provider_states": completion.provider_states,
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Return what `encode` made. Raises an Exception of any class for anything else."""
        read = json.loads(data)
        if read["version"] != _VERSION:
            raise ValueError(f"version {_VERSION} was wanted, got {read['version']!r}.")
        completion = Completion(
            uuid.UUID(read["message"]),
            uuid.UUID(read["conversation"]),
            read["worker"],
            Ending(**read["ending"]),
            list(events.from_parts(read["parts"])),
            read["fields"],
            provider_states={int(call): state for call, state in read.get("provider_states", {}).items()},
        )
        return cls(completion, Ending(**read["outcome"]))

    def save(self) -> Replay:
        """Save the ending, once however often this is called. Blocking. Raises errors of the database."""
        using = live_database()
        try:
            return write_transaction(partial(self._write, using), using=using, lock_seconds=_LOCK_SECONDS)
        except LeaseLost:
            return self._compare(Message.objects.using(using).filter(pk=self.message_id).first())

    def _write(self, using: str) -> Replay:
        kept = Conversation.objects.using(using).filter(deleted_at=None, erased_at=None)
        if not kept.filter(pk=self.completion.conversation_id).update(last_activity=Now()):
            return Replay.OBSOLETE
        end_reply(self.completion, using)
        return Replay.SAVED

    def _compare(self, message: Message | None) -> Replay:
        """Compare with the ending that is in the database."""
        if message is None or message.redacted_at:
            return Replay.OBSOLETE
        expected = (self.completion.ending, self.outcome)
        if not message.is_live and any(is_same_ending(message.ending, ending) for ending in expected):
            return Replay.OBSOLETE
        logger.error("Reply %s was ended by another process; the journal keeps its text.", self.message_id)
        return Replay.FENCED


class Journal:
    """Where records are kept. `put` in any thread, `replay` in one at a time."""

    def __init__(self) -> None:
        # Records that no file holds.
        self._in_memory: dict[uuid.UUID, Record] = {}
        # Names of records that could not be replayed, and the monotonic time until which they are left.
        self._postponed: dict[str, float] = {}
        # Replies whose endings the replay under way has saved.
        self._saved: list[uuid.UUID] = []
        self._reported = ""

    @property
    def weight_in_memory(self) -> int:
        """The weight of the records that are in no file."""
        return sum(record.completion.weight for record in list(self._in_memory.values()))

    def put(self, record: Record, *, in_memory: bool = True) -> bool:
        """Keep a record; False if it is lost. in_memory: where there is no folder for it, or it cannot be written."""
        folder = conf.STREAMING_CHAT_JOURNAL_DIR
        if folder:
            try:
                _write(Path(folder), record)
                return True
            except Exception as error:  # noqa: BLE001  (a full disk, a folder of another user, a value of a site's provider)
                logger.error("Reply %s could not be written to JOURNAL_DIR: %s", record.message_id, describe(error))
        if in_memory:
            self._in_memory[record.message_id] = record
        return in_memory

    def replay(self, most: int | None = None) -> Replayed:
        """Save the endings that are kept, at most so many. Blocking. Raises the database's error when it is away."""
        self._saved = []
        now = time.monotonic()
        self._postponed = {name: until for name, until in self._postponed.items() if until > now}
        tried = 0
        for name, replay in self._waiting():
            if name in self._postponed:
                continue
            if tried == most:
                return Replayed(self._saved, is_more=True)
            tried += 1
            self._replay_safely(name, replay)
        return Replayed(self._saved, is_more=bool(self._postponed))

    def names(self) -> list[str]:
        """Return the replies whose endings are kept in files."""
        return [path.stem for path in self._waiting_files()]

    def forget(self, message_ids: Iterable[uuid.UUID]) -> None:
        """Remove every record and kept file of these replies: their text was removed."""
        gone = set(message_ids)
        for pk in gone:
            self._in_memory.pop(pk, None)
        folder = conf.STREAMING_CHAT_JOURNAL_DIR
        names = {str(pk) for pk in gone}
        with contextlib.suppress(FileNotFoundError):
            for path in Path(folder).iterdir() if folder else ():
                if path.name.partition(".")[0] in names:
                    path.unlink(missing_ok=True)

    def _replay_safely(self, name: str, replay: Callable[[], Replay | None]) -> None:
        """Replay one record; whatever is wrong with it, the others follow, and it is tried again later."""
        try:
            replayed = replay()
        except Exception as error:
            if is_away(error):
                raise
            logger.error("The record %s could not be replayed; it is tried again later: %s", name, describe(error))
            replayed = Replay.POSTPONED
        if replayed is Replay.POSTPONED:
            self._postponed[name] = time.monotonic() + _RETRY_SECONDS

    def _waiting(self) -> Iterator[tuple[str, Callable[[], Replay | None]]]:
        """Yield the waiting records, each as its reply's id and what replays it."""
        for pk in list(self._in_memory):
            yield str(pk), partial(self._replay_from_memory, pk)
        for path in self._waiting_files():
            yield path.stem, partial(self._replay_file, path)

    def _replay_from_memory(self, message_id: uuid.UUID) -> Replay | None:
        record = self._in_memory.get(message_id)
        if record is None:
            # Its text was removed meanwhile.
            return None
        replayed = self._save(record)
        if replayed is not Replay.POSTPONED:
            self._in_memory.pop(message_id, None)
        return replayed

    def _waiting_files(self) -> Iterator[Path]:
        folder = conf.STREAMING_CHAT_JOURNAL_DIR
        if not folder:
            return
        try:
            paths = sorted(Path(folder).iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            self._report(error)
            return
        for path in paths:
            if path.suffix in (".taken", ".new"):
                yield from _release(path)
            elif path.suffix == _WAITING:
                yield path

    def _replay_file(self, path: Path) -> Replay | None:
        """Replay one file; None if another process has taken it, or it cannot be read."""
        taken = path.with_suffix(f".{uuid.uuid4().hex}.taken")
        try:
            path.rename(taken)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._report(error)
            return Replay.POSTPONED
        record = _read(taken, path)
        if record is None:
            return None
        replayed = Replay.POSTPONED
        try:
            replayed = self._save(record)
        finally:
            # It may have been removed meanwhile: the text of a message that is redacted must not stay.
            with contextlib.suppress(FileNotFoundError):
                if suffix := _SUFFIXES.get(replayed):
                    taken.rename(path.with_suffix(suffix))
                else:
                    taken.unlink()
        return replayed

    def _save(self, record: Record) -> Replay:
        """Save one record. Raises the database's error when it is away."""
        try:
            replayed = record.save()
        except Exception as error:
            if is_locked(error):
                return Replay.POSTPONED
            if is_away(error):
                raise
            pk = record.message_id
            logger.error("The database refuses the ending of reply %s; it is kept: %s", pk, describe(error))
            return Replay.REFUSED
        if replayed is Replay.SAVED:
            self._saved.append(record.message_id)
        return replayed

    def _report(self, error: OSError) -> None:
        """Log it once."""
        said = f"{type(error).__name__} {error.errno}"
        if said != self._reported:
            self._reported = said
            logger.error("JOURNAL_DIR cannot be replayed: %s", said)


def _results(run: Run, received: Iterable[Event]) -> list[Event]:
    """Return the results of the calls that have none, of a run that waits or could not be concluded in time."""
    begun = {call.call_id for call in run.calls.starts} if run.calls else set()
    return [
        result(call["id"], UNKNOWN, LOST) if call["id"] in begun else result(call["id"], CANCELLED, NOT_RUN)
        for call in open_calls(received)
    ]


def _read(taken: Path, path: Path) -> Record | None:
    """Return the record of a file that was taken; one that cannot be read is kept under another name."""
    try:
        # A rename keeps the time; other processes must see that it was just taken.
        os.utime(taken)
        return Record.decode(taken.read_bytes())
    except Exception as error:  # noqa: BLE001  (anything may lie there)
        logger.error("%s in JOURNAL_DIR cannot be read; it is kept: %s", path.name, describe(error))
        taken.rename(path.with_suffix(_UNREADABLE))
        return None


def _write(folder: Path, record: Record) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
    private_files.write(folder / f"{record.message_id}{_WAITING}", record.encode())


def _release(path: Path) -> Iterator[Path]:
    """Yield a file whose process died, under its first name; remove one that was never complete."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime < _TAKEN_SECONDS:
            return
        if path.suffix == ".new":
            path.unlink()
        else:
            yield path.rename(path.parent / f"{path.name.partition('.')[0]}{_WAITING}")


journal = Journal()
