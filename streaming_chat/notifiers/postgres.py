"""A tail through the database alone: nothing to install.

By itself it says nothing, and followers look at the database at their own pace, every 0.3 s. With `listen_dsn`, on
PostgreSQL, the transaction that saves events or an ending also notifies, and each process listens on one connection:
https://www.postgresql.org/docs/current/sql-notify.html. That connection must be direct. Through pgbouncer in transaction
mode LISTEN is_connected nothing, without an error, so the tail sends itself a probe and trusts only what it is_connected.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections

from streaming_chat.logs import logger

from .base import Follower, Notifier

# Notifications are of one database; the messages' ids are unique in it.
_CHANNEL = "streaming_chat"
# A payload is at most 8,000 bytes, an id 33 with its comma.
_IDS_AT_ONCE = 200
_PROBE_SECONDS = 5.0
_PATIENCE_SECONDS = 1.0
_RETRY_SECONDS = 5.0
# How soon the thread sees that there is nothing to hear any more.
_LOOK_SECONDS = 0.2
# A direct connection that the network dropped is noticed within about 10 s.
_CONNECT = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}


class PostgresNotifier(Notifier):
    """Looks, and where it may, listens. listen_dsn: a direct connection to the same database; "" for none."""

    def __init__(self, *, listen_dsn: str = "") -> None:
        """Raises ImproperlyConfigured without psycopg 3, whose connections hear notifications."""
        self._dsn = listen_dsn
        self._psycopg = _psycopg() if listen_dsn else None
        self.reset()

    def reset(self) -> None:
        """See the base class."""
        self._lock = threading.Lock()
        self._is_served = False
        self._worker = ""
        self._on_wake: Callable[[Iterable[uuid.UUID]], None] | None = None
        self._followed: dict[uuid.UUID, Follower] = {}
        self._thread: threading.Thread | None = None
        self._using = ""
        self._heard_until = 0.0
        self._has_warned = False

    def close(self) -> None:
        """See the base class."""
        self._is_served = False
        self._followed.clear()

    @property
    def is_connected(self) -> bool:
        """See the base class."""
        return time.monotonic() < self._heard_until

    def listen(self, worker: str, woken: Callable[[Iterable[uuid.UUID]], None], using: str) -> None:
        """See the base class."""
        self._worker, self._on_wake, self._is_served = worker, woken, True
        self._listen(using)

    def stop_listening(self) -> None:
        """See the base class."""
        self._is_served = False

    def notify_on_commit(self, using: str, message_ids: Sequence[uuid.UUID]) -> None:
        """See the base class."""
        if self._dsn:
            for first in range(0, len(message_ids), _IDS_AT_ONCE):
                some = message_ids[first : first + _IDS_AT_ONCE]
                _notify(using, "news " + ",".join(pk.hex for pk in some))

    def subscribe(self, message_id: uuid.UUID, follower: Follower, using: str) -> None:
        """See the base class."""
        self._followed[message_id] = follower
        self._listen(using)

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        """See the base class."""
        self._followed.pop(message_id, None)

    def wake(self, using: str, worker: str, message_id: uuid.UUID) -> None:
        """See the base class."""
        if self._dsn:
            try:
                _notify(using, f"summon {worker} {message_id.hex}")
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The process that writes reply %s was not told (%s).", message_id, type(error).__name__)

    def _listen(self, using: str) -> None:
        if not self._dsn:
            return
        with self._lock:
            self._using = using
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="streaming_chat.tail", daemon=True)
                self._thread.start()

    @property
    def _is_wanted(self) -> bool:
        return self._is_served or bool(self._followed)

    def _work(self) -> None:
        while True:
            try:
                self._hear()
            except Exception as error:  # noqa: BLE001  (followers look at the database all the same)
                self._warn(f"the connection of listen_dsn failed ({type(error).__name__})")
            self._heard_until = 0.0
            self._pause()
            with self._lock:
                if not self._is_wanted:
                    self._thread = None
                    return

    def _hear(self) -> None:
        """Listen for as long as it is wanted. Raises what psycopg does; returns when the probe was not heard."""
        with self._psycopg.connect(self._dsn, **_CONNECT) as connection:  # type: ignore[union-attr]
            connection.execute(f"LISTEN {_CHANNEL}")
            probe = f"probe {uuid.uuid4().hex}"
            # The first goes the way of all notifications: the database may be another than listen_dsn's.
            try:
                _notify(self._using, probe)
            finally:
                # Also a broken one, which Django would use again.
                connections.close_all()
            sent = time.monotonic()
            is_heard = False
            while self._is_wanted:
                for payload in _received(connection):
                    if payload == probe:
                        self._note_heard(is_first=not is_heard)
                        is_heard = True
                    else:
                        self._report(payload)
                silent = time.monotonic() - sent
                if not is_heard and silent > _PATIENCE_SECONDS:
                    self._warn("no probe came within 1 s; listen_dsn must be a direct connection to the same database")
                    return
                if is_heard and silent > _PROBE_SECONDS:
                    is_heard = False
                    connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, probe))
                    sent = time.monotonic()

    def _note_heard(self, *, is_first: bool) -> None:
        was_deaf = not self.is_connected
        self._heard_until = time.monotonic() + _PROBE_SECONDS + 2 * _PATIENCE_SECONDS
        if was_deaf and is_first:
            if self._has_warned:
                logger.info("Notifications of PostgreSQL are heard again.")
            self._has_warned = False
            self._report_all()

    def _report(self, payload: str) -> None:
        what, _, rest = payload.partition(" ")
        try:
            if what == "news":
                self._report_news([uuid.UUID(pk) for pk in rest.split(",")])
            elif what == "summon":
                worker, _, pk = rest.partition(" ")
                if worker == self._worker and self._on_wake is not None:
                    self._on_wake([uuid.UUID(pk)])
        except ValueError:
            # Of a newer version, or somebody else's.
            logger.warning("A notification that is none of ours was ignored.")

    def _report_news(self, message_ids: Iterable[uuid.UUID]) -> None:
        for pk in message_ids:
            if (follower := self._followed.get(pk)) is not None:
                follower.news([pk])

    def _report_all(self) -> None:
        """What was said while it did not hear is in the rows."""
        for pk, follower in list(self._followed.items()):
            follower.news([pk])

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("Notifications of PostgreSQL are not heard, replies are looked for every 0.3 s: %s.", reason)

    def _pause(self) -> None:
        deadline = time.monotonic() + _RETRY_SECONDS
        while self._is_wanted and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def _notify(using: str, payload: str) -> None:
    connection = connections[using]
    # Elsewhere nobody listens; the thread says so.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, payload))


def _received(connection: Any) -> list[str]:
    """Return the payloads that come within a moment: at once when the first is there."""
    return [notification.payload for notification in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1)]


def _psycopg() -> Any:
    try:
        return import_module("psycopg")
    except ImportError as error:
        raise ImproperlyConfigured("listen_dsn needs psycopg 3: pip install 'psycopg[binary]'.") from error
