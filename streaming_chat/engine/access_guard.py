"""The readers that this process serves: how many, and whether each may still read. No HTTP.

One thread, made with the first reader, asks once a heartbeat for all of them in one query whether their conversations are
still there and their owners active. A database that is away ends nobody. A visitor's reader goes on when the conversation
is claimed: it reads one reply, which its visitor asked for, and nothing that is written later.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Q

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.logs import describe, logger
from streaming_chat.models import Message

# One statement names so many replies; SQLite takes 32,766 parameters.
_AT_ONCE = 10_000
# A changed HEARTBEAT_SECONDS is noticed after so long.
_STEP_SECONDS = 1.0


class Reading(Protocol):
    """A reader, as far as its right to read goes."""

    message_id: uuid.UUID

    def refuse(self, code: str) -> None:
        """End it with this error code. From any thread."""


class AccessGuard:
    """The registry of this process's open readers."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a child of a fork: the thread and the readers are the parent's."""
        # The collector may close a reader that is in a cycle in the thread that holds it.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        # Weak: a reader that is dropped leaves.
        self._watched: dict[object, weakref.ref[Reading]] = {}
        self.count = 0

    def enter(self, reader: Reading, *, watched: bool = True) -> Callable[[], None]:
        """Count one more, and return what its end calls, once.

        watched: it reads as the conversation's owner, and is refused when that may not be any more. Not so where other
        connections cannot see its rows: in a site's TestCase.
        """
        entry = object()
        with self._lock:
            self.count += 1
            if watched:
                self._watched[entry] = weakref.ref(reader)
                self._start()
        return partial(self._leave, entry)

    def look(self) -> None:
        """Refuse the readers that may not read any more. Blocking."""
        readers = [reader for reference in list(self._watched.values()) if (reader := reference()) is not None]
        allowed = _readable({reader.message_id for reader in readers})
        for reader in readers:
            if reader.message_id not in allowed:
                logger.info("A reader of reply %s may not read any more.", reader.message_id)
                reader.refuse("forbidden")

    def _leave(self, entry: object) -> None:
        with self._lock:
            self.count -= 1
            self._watched.pop(entry, None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="streaming_chat.audience", daemon=True)
            self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._watched:
                _sleep_a_heartbeat()
                if self._watched:
                    self._look_safely()

    def _look_safely(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001  (a database that is away ends nobody, nor this thread)
            logger.warning("Whether readers may still read could not be asked: %s", describe(error))
        finally:
            # One connection a heartbeat costs less than one that is held.
            connections.close_all()


def _sleep_a_heartbeat() -> None:
    began = time.monotonic()
    while (left := began + conf.STREAMING_CHAT_HEARTBEAT_SECONDS - time.monotonic()) > 0:
        time.sleep(min(left, _STEP_SECONDS))


def _readable(ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of these messages their owners may read: the conversation is there, its owner not deactivated."""
    messages = Message.objects.using(live_database()).filter(conversation__deleted_at=None)
    messages = messages.exclude(conversation__owner_key="")
    if _has_active_flag():
        messages = messages.filter(Q(conversation__owner=None) | Q(conversation__owner__is_active=True))
    asked = list(ids)
    found: set[uuid.UUID] = set()
    for first in range(0, len(asked), _AT_ONCE):
        found.update(messages.filter(pk__in=asked[first : first + _AT_ONCE]).values_list("pk", flat=True))
    return found


def _has_active_flag() -> bool:
    """Return whether users can be deactivated: a model of the site's own may have `is_active` as a constant only."""
    try:
        get_user_model()._meta.get_field("is_active")
    except FieldDoesNotExist:
        return False
    return True


access_guard = AccessGuard()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=access_guard.reset)
