"""The readers that this process serves: how many there are, and whether each may still read. No HTTP.

One thread, made with the first reader, checks all of them once a heartbeat. One query finds the owners' readers whose
conversations exist and whose owners are active; what else the right to read depends on is asked for each reader. While the
database is away, no reader is denied access. A visitor's reader goes on when the conversation is merged into a user's: it
reads one reply that its visitor asked for, and nothing that is written later.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Q

from streaming_chat.background_threads import BackgroundThread
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.logs import describe, logger
from streaming_chat.models import Message

# The most replies in one statement; SQLite takes 32,766 parameters.
_BATCH_SIZE = 10_000
# How soon a changed HEARTBEAT_SECONDS is noticed.
_STEP_SECONDS = 1.0


class GuardedReader(Protocol):
    """What the guard needs to know of a reader."""

    message_id: uuid.UUID

    def deny(self, code: str) -> None:
        """End it with this error code. From any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who reads, and by what right.

    key: of the owner or of the user of staff: how many readers one has is counted. is_owner: the conversation's owner
    reads, for whom the reply goes on; False for staff. may_read: whether they still may, asked at each heartbeat, blocking;
    None to ask nothing. is_guarded: False where other connections cannot see the rows: in a site's TestCase.
    """

    key: str = ""
    is_owner: bool = True
    may_read: Callable[[], bool] | None = None
    is_guarded: bool = True


class AccessGuard:
    """The registry of this process's open readers. count: how many there are."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork: the thread and the readers are the parent's."""
        # Reentrant: the collector may close a reader that is in a cycle, in the thread that holds the lock.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread = BackgroundThread("streaming_chat.access_guard", self._turn)
        # Weak: a reader that is dropped unregisters itself.
        self._guarded: dict[object, tuple[weakref.ref[GuardedReader], Access]] = {}
        self._counts: Counter[str] = Counter()
        self.count = 0

    def register(self, reader: GuardedReader, access: Access) -> Callable[[], None]:
        """Register a reader. Returns a function that unregisters it; call it exactly once."""
        entry = object()
        with self._lock:
            self.count += 1
            self._counts[access.key] += 1
            if access.is_guarded:
                self._guarded[entry] = weakref.ref(reader), access
                self._thread.start()
                self._wake.set()
        return partial(self._unregister, entry, access.key)

    def count_of(self, key: str) -> int:
        """Return how many readers one owner or user of staff has."""
        return self._counts[key]

    def check(self) -> None:
        """Deny access to the readers that may not read any more. Blocking."""
        open_readers = [
            (reader, access)
            for reference, access in list(self._guarded.values())
            if (reader := reference()) is not None
        ]
        of_owners = _readable({reader.message_id for reader, access in open_readers if access.is_owner})
        for reader, access in open_readers:
            if (access.is_owner and reader.message_id not in of_owners) or not _still_may_read(reader, access):
                logger.info("A reader of reply %s may not read any more.", reader.message_id)
                reader.deny("forbidden")

    def _unregister(self, entry: object, key: str) -> None:
        with self._lock:
            self.count -= 1
            self._guarded.pop(entry, None)
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]

    def _turn(self) -> None:
        if not self._guarded:
            self._wake.wait()
            self._wake.clear()
        _sleep_one_heartbeat()
        if self._guarded:
            self._check_safely()

    def _check_safely(self) -> None:
        try:
            self.check()
        except Exception as error:  # noqa: BLE001  (a database that is away ends no reader, nor this thread)
            logger.warning("The access of open readers could not be checked: %s", describe(error))
        finally:
            # One connection a heartbeat costs less than one that is held.
            connections.close_all()


def _sleep_one_heartbeat() -> None:
    started = time.monotonic()
    while (left := started + conf.STREAMING_CHAT_HEARTBEAT_SECONDS - time.monotonic()) > 0:
        time.sleep(min(left, _STEP_SECONDS))


def _still_may_read(reader: GuardedReader, access: Access) -> bool:
    """Ask again. An error is no denial, and does not keep the other readers from being asked."""
    if access.may_read is None:
        return True
    try:
        return access.may_read()
    except Exception as error:  # noqa: BLE001  (the site's own code)
        logger.warning(
            "Whether a reader of reply %s may read could not be asked: %s", reader.message_id, describe(error)
        )
        return True


def _readable(ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of these messages their owners may read: the conversation exists, and its owner is active."""
    messages = Message.objects.using(live_database()).filter(conversation__deleted_at=None)
    messages = messages.exclude(conversation__owner_key="")
    if _has_active_flag():
        messages = messages.filter(Q(conversation__owner=None) | Q(conversation__owner__is_active=True))
    asked = list(ids)
    found: set[uuid.UUID] = set()
    for first in range(0, len(asked), _BATCH_SIZE):
        found.update(messages.filter(pk__in=asked[first : first + _BATCH_SIZE]).values_list("pk", flat=True))
    return found


def _has_active_flag() -> bool:
    """Return whether users can be deactivated: a site's own user model may have `is_active` as a constant only."""
    return any(field.name == "is_active" for field in get_user_model()._meta.concrete_fields)


access_guard = AccessGuard()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=access_guard.reset)
