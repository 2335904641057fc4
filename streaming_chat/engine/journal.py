"""Endings that could not be saved wait here until the database answers: in JOURNAL_DIR, one file a reply, or in memory.

Files are replayed by the process that wrote them, by another's first flush, and by `manage.py recoverreplies`, each file
by one of them: it is taken by renaming it. They hold what people wrote: only the app's user may read them.

<message>.json              waits
<message>.<token>.taken     is being replayed; one whose replayer died waits again after a minute
<message>.fenced            somebody else had ended the reply; kept for the site's operators, as are .refused (by the
                            database) and .unreadable
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_away, is_locked
from streaming_chat.db.locks import bounded_lock_wait
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, Message
from streaming_chat.notifiers import get_notifier
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event

from .batch import Saved, is_same
from .completion import announce_end, end_reply

_VERSION = 1
# What became of a record: these two are done with, the others are suffixes under which its file is kept.
_SAVED, _GONE = "saved", "gone"
_WAITS, _FENCED, _REFUSED, _UNREADABLE = ".json", ".fenced", ".refused", ".unreadable"
# A replay takes milliseconds; whoever holds a file for longer has died, or was paused and does no harm.
_TAKEN_SECONDS = 60.0
# A reply whose rows are held is left for a while: live replies wait meanwhile, and so do the records after it.
_LOCK_SECONDS = 0.1
_REST_SECONDS = 10.0


@dataclass(frozen=True, repr=False)
class Record:
    """One reply's ending, with all that is to be saved of it. Its repr is the default one: no text in logs.

    ending: what its readers were told, or are to be. outcome: what would have been saved; a commit whose answer did not
    come may have done so. fields: further columns of its message.
    """

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    worker: str
    ending: Ending
    outcome: Ending
    received: Sequence[Event]
    fields: dict[str, Any]

    @classmethod
    def of(cls, run: Saved, worker: str, *, told: bool) -> Record:
        """Return that of a run. told: its readers are told that it was not saved; else its own outcome stands."""
        received = list(events.merge(run.events[1:]))
        outcome = run.outcome or endings.broken("shutdown", received=bool(received))
        ending = outcome
        if told:
            broken = endings.broken("not_saved", received=bool(received), ref=outcome.ref)
            ending = Ending(broken.status, broken.end_reason, broken.error_code, broken.ref, outcome.cut_position)
        return cls(run.message_id, run.conversation_id, worker, ending, outcome, received, run.columns())

    @property
    def end_position(self) -> int:
        """Where the reply ends for its owner."""
        position = 1 + events.length(self.received)
        cut = self.ending.cut_position
        return position if cut is None else min(max(cut, 1), position)

    @property
    def payload(self) -> dict[str, Any]:
        """What its `end` event says."""
        text = events.text_of(events.before(self.received, self.end_position, 1))
        return endings.payload(self.ending, text, Message(**self.fields).usage)

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(
            {
                "version": _VERSION,
                "message": str(self.message_id),
                "conversation": str(self.conversation_id),
                "worker": self.worker,
                "ending": asdict(self.ending),
                "outcome": asdict(self.outcome),
                "parts": events.to_parts(self.received),
                "fields": self.fields,
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Return what `encode` made. Raises an Exception of any class for anything else."""
        read = json.loads(data)
        if read["version"] != _VERSION:
            raise ValueError(f"version {_VERSION} was wanted, got {read['version']!r}.")
        return cls(
            uuid.UUID(read["message"]),
            uuid.UUID(read["conversation"]),
            read["worker"],
            Ending(**read["ending"]),
            Ending(**read["outcome"]),
            list(events.from_parts(read["parts"])),
            read["fields"],
        )

    def save(self) -> str:
        """Save it, and return what became of it: saved, gone, or the suffix under which its file is kept. Blocking.

        However often: what was saved before, deleted or erased is gone. Raises errors of the database.
        """
        using = live_database()
        with transaction.atomic(using=using), bounded_lock_wait(using, _LOCK_SECONDS):
            kept = Conversation.objects.using(using).filter(deleted_at=None, erased_at=None)
            if not kept.filter(pk=self.conversation_id).update(last_activity=Now()):
                return _GONE
            told = end_reply(
                self.message_id,
                self.conversation_id,
                self.ending,
                self.received,
                using=using,
                worker=self.worker,
                **self.fields,
            )
            if told is None:
                return self._look_at_other(using)
            get_notifier().notify_on_commit(using, [self.message_id])
            ended = (self.message_id, self.conversation_id, self.ending.status, self.ending.end_reason)
            transaction.on_commit(partial(announce_end, *ended), using=using)
        return _SAVED

    def _look_at_other(self, using: str) -> str:
        """Compare with the ending that is there."""
        message = Message.objects.using(using).filter(pk=self.message_id).first()
        if message is None or message.redacted_at:
            return _GONE
        if not message.is_live and (is_same(message.ending, self.ending) or is_same(message.ending, self.outcome)):
            return _GONE
        logger.error("Reply %s waited to be saved and was settled elsewhere; its text is kept.", self.message_id)
        return _FENCED


class Journal:
    """Where records wait. `put` in any thread, `replay` in one at a time."""

    def __init__(self) -> None:
        # Those that no file holds.
        self._kept: dict[uuid.UUID, Record] = {}
        # Replies whose rows were held, until when they are left.
        self._resting: dict[str, float] = {}
        self._reported = ""

    @property
    def kept_units(self) -> int:
        """How many units wait in memory."""
        return sum(record.end_position for record in list(self._kept.values()))

    def put(self, record: Record, *, keep: bool = True) -> bool:
        """Let it wait; False when that is nowhere. keep: in memory, if there is no folder for it."""
        folder = conf.STREAMING_CHAT_JOURNAL_DIR
        if folder:
            try:
                _write(Path(folder), record)
                return True
            except Exception as error:  # noqa: BLE001  (a full disk, a folder of another user, a value of a site's provider)
                logger.error("Reply %s could not be written to JOURNAL_DIR: %s", record.message_id, describe(error))
        if keep:
            self._kept[record.message_id] = record
        return keep

    def replay(self, most: int | None = None) -> tuple[list[uuid.UUID], bool]:
        """Save what waits, at most so many; return whose endings were saved, and whether more waits. Blocking.

        Raises the database's error when it is away.
        """
        became: dict[uuid.UUID, str] = {}
        now = time.monotonic()
        self._resting = {name: until for name, until in self._resting.items() if until > now}
        more = False
        for name, replay in self._candidates():
            if name in self._resting:
                continue
            if len(became) == most:
                more = True
                break
            became |= replay()
        self._resting |= {str(pk): now + _REST_SECONDS for pk, what in became.items() if what == _WAITS}
        return _saved(became), more or bool(self._resting)

    def names(self) -> list[str]:
        """Return the replies whose endings wait in files."""
        return [path.stem for path in self._waiting()]

    def forget(self, message_ids: Iterable[uuid.UUID]) -> int:
        """Remove whatever waits or is kept of these: their text was taken away. Return how many files."""
        gone = set(message_ids)
        for pk in gone:
            self._kept.pop(pk, None)
        folder = conf.STREAMING_CHAT_JOURNAL_DIR
        names = {str(pk) for pk in gone}
        removed = 0
        with contextlib.suppress(FileNotFoundError):
            for path in Path(folder).iterdir() if folder else ():
                if path.name.partition(".")[0] in names:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _candidates(self) -> Iterator[tuple[str, Callable[[], dict[uuid.UUID, str]]]]:
        """Yield what waits, each as its reply's id and what replays it."""
        for pk in list(self._kept):
            yield str(pk), partial(self._replay_kept, pk)
        for path in self._waiting():
            yield path.stem, partial(self._replay_file, path)

    def _replay_kept(self, message_id: uuid.UUID) -> dict[uuid.UUID, str]:
        became = _save(self._kept[message_id])
        if became != _WAITS:
            self._kept.pop(message_id, None)
        return {message_id: became}

    def _waiting(self) -> Iterator[Path]:
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
                yield from _free(path)
            elif path.suffix == _WAITS:
                yield path

    def _replay_file(self, path: Path) -> dict[uuid.UUID, str]:
        """Replay one file; return what became of its record, if it could be read, and was not another's."""
        taken = path.with_suffix(f".{uuid.uuid4().hex}.taken")
        try:
            path.rename(taken)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._report(error)
            return {}
        try:
            # A rename keeps the time; whoever looks at it now must see that it was just taken.
            os.utime(taken)
            record = Record.decode(taken.read_bytes())
        except Exception as error:  # noqa: BLE001  (whatever somebody has put there, the others go on)
            logger.error("%s in JOURNAL_DIR cannot be read; it is kept: %s", path.name, describe(error))
            taken.rename(path.with_suffix(_UNREADABLE))
            return {}
        became = _WAITS
        try:
            became = _save(record)
        finally:
            # Somebody may have removed it meanwhile: what waits of a message that is redacted has no right to stay.
            with contextlib.suppress(FileNotFoundError):
                if became in (_SAVED, _GONE):
                    taken.unlink()
                else:
                    taken.rename(path.with_suffix(became))
        return {record.message_id: became}

    def _report(self, error: OSError) -> None:
        """Say it once."""
        said = f"{type(error).__name__} {error.errno}"
        if said != self._reported:
            self._reported = said
            logger.error("JOURNAL_DIR cannot be replayed: %s", said)


def _saved(became: dict[uuid.UUID, str]) -> list[uuid.UUID]:
    return [pk for pk, what in became.items() if what == _SAVED]


def _save(record: Record) -> str:
    """Save one record, whatever its fault; only a database that is away is raised."""
    try:
        return record.save()
    except Exception as error:
        if is_locked(error):
            return _WAITS
        if is_away(error):
            raise
        logger.error("What waited of reply %s is refused; it is kept: %s", record.message_id, describe(error))
        return _REFUSED


def _write(folder: Path, record: Record) -> None:
    """Write a file that is there whole or not at all, and survives a crash of the machine."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
    new = folder / f"{record.message_id}.{uuid.uuid4().hex}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123  (its mode)
            file.write(record.encode())
            file.flush()
            os.fsync(file.fileno())
        new.rename(folder / f"{record.message_id}{_WAITS}")
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(path: Path) -> Iterator[Path]:
    """Let a file wait again whose replayer died; remove one that was never whole."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime < _TAKEN_SECONDS:
            return
        if path.suffix == ".new":
            path.unlink()
        else:
            yield path.rename(path.parent / f"{path.name.partition('.')[0]}{_WAITS}")


journal = Journal()
