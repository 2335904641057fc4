"""Notifications of PostgreSQL: the transaction that saves events or an ending also tells the processes that follow them.

Each process listens on one connection: https://www.postgresql.org/docs/current/sql-notify.html. The connection must be
direct. Through pgbouncer in transaction mode LISTEN receives nothing, without an error, so the notifier sends probes to
itself and counts as connected only while they arrive.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004  (Django's own name)
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections

from streaming_chat.db.alias import live_database
from streaming_chat.logs import logger

from .base import Notifier, Subscriber

# A channel belongs to one database, in which the messages' ids are unique.
_CHANNEL = "streaming_chat"
# A payload holds at most 8,000 bytes, and an id takes 33 with its comma.
_IDS_PER_PAYLOAD = 200
_PROBE_SECONDS = 5.0
_PROBE_TIMEOUT_SECONDS = 1.0
_RETRY_SECONDS = 5.0
# How soon the thread notices that nothing is listened for any more.
_WAIT_SECONDS = 0.2
# With these, a direct connection that the network dropped is noticed within about 10 s.
_CONNECT = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}


class PostgresNotifier(Notifier):
    """Sends notifications on the site's own connections, and listens on one of its own.

    listen_dsn: URL or DSN of a direct connection to the database that holds the replies.
    """

    def __init__(self, *, listen_dsn: str) -> None:
        """Raises ImproperlyConfigured for a DSN that is not PostgreSQL's, or without psycopg 3."""
        self._psycopg = _import_psycopg()
        _require_valid_dsn(self._psycopg, listen_dsn)
        self._dsn = listen_dsn
        self.reset()

    def check(self) -> list[CheckMessage]:
        vendor = connections[live_database()].vendor
        if vendor == "postgresql":
            return []
        return [
            Warning(
                f"PostgresNotifier sends nothing: the database {live_database()!r} is {vendor}.",
                hint="Use streaming_chat.notifiers.polling.PollingNotifier, or PostgreSQL.",
                id="streaming_chat.W010",
            )
        ]

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._is_listening = False
        self._worker = ""
        self._on_wake: Callable[[Iterable[uuid.UUID]], None] | None = None
        self._subscribers: dict[uuid.UUID, Subscriber] = {}
        self._thread: threading.Thread | None = None
        self._using = ""
        self._connected_until = 0.0
        self._has_warned = False

    def close(self) -> None:
        self._is_listening = False
        self._subscribers.clear()

    @property
    def is_connected(self) -> bool:
        return time.monotonic() < self._connected_until

    def listen(self, worker: str, on_wake: Callable[[Iterable[uuid.UUID]], None], using: str) -> None:
        self._worker, self._on_wake, self._is_listening = worker, on_wake, True
        self._ensure_thread(using)

    def stop_listening(self) -> None:
        self._is_listening = False

    def notify_on_commit(self, using: str, message_ids: Sequence[uuid.UUID]) -> None:
        for first in range(0, len(message_ids), _IDS_PER_PAYLOAD):
            ids = message_ids[first : first + _IDS_PER_PAYLOAD]
            _notify(using, "changed " + ",".join(pk.hex for pk in ids))

    def subscribe(self, message_id: uuid.UUID, subscriber: Subscriber, using: str) -> None:
        self._subscribers[message_id] = subscriber
        self._ensure_thread(using)

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        self._subscribers.pop(message_id, None)

    def wake(self, using: str, worker: str, message_id: uuid.UUID) -> None:
        try:
            _notify(using, f"wake {worker} {message_id.hex}")
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The worker that writes reply %s was not notified (%s).", message_id, type(error).__name__)

    # The thread that listens.

    def _ensure_thread(self, using: str) -> None:
        with self._lock:
            self._using = using
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="streaming_chat.notifier", daemon=True)
                self._thread.start()

    @property
    def _is_needed(self) -> bool:
        return self._is_listening or bool(self._subscribers)

    def _work(self) -> None:
        while True:
            try:
                self._listen_while_needed()
            except Exception as error:  # noqa: BLE001  (processes read the database all the same)
                self._warn(f"the connection of listen_dsn failed ({type(error).__name__})")
            self._connected_until = 0.0
            self._wait_before_retry()
            with self._lock:
                if not self._is_needed:
                    self._thread = None
                    return

    def _listen_while_needed(self) -> None:
        """Raises what psycopg does; returns early when a probe did not arrive."""
        with self._psycopg.connect(self._dsn, **_CONNECT) as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            probe = f"probe {uuid.uuid4().hex}"
            self._send_first_probe(probe)
            sent = time.monotonic()
            has_arrived = False
            while self._is_needed:
                if probe in self._receive(connection):
                    self._note_probe()
                    has_arrived = True
                waited = time.monotonic() - sent
                if not has_arrived and waited > _PROBE_TIMEOUT_SECONDS:
                    self._warn(
                        "no probe arrived within 1 s; listen_dsn must be a direct connection to the same database"
                    )
                    return
                if has_arrived and waited > _PROBE_SECONDS:
                    connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, probe))
                    sent = time.monotonic()
                    has_arrived = False

    def _send_first_probe(self, probe: str) -> None:
        """Send it as all notifications are sent: the site's database may be another one than listen_dsn's."""
        try:
            _notify(self._using, probe)
        finally:
            # Django would use a broken connection of this thread again.
            connections.close_all()

    def _receive(self, connection: Any) -> list[str]:
        """Wait a moment for a notification, pass on what it says, and return the payloads."""
        payloads = [each.payload for each in connection.notifies(timeout=_WAIT_SECONDS, stop_after=1)]
        for payload in payloads:
            self._handle(payload)
        return payloads

    def _note_probe(self) -> None:
        was_connected = self.is_connected
        self._connected_until = time.monotonic() + _PROBE_SECONDS + 2 * _PROBE_TIMEOUT_SECONDS
        if not was_connected:
            if self._has_warned:
                logger.info("Notifications of PostgreSQL arrive again.")
            self._has_warned = False
            # Notifications sent in the meantime are lost; what they were about is in the rows.
            self._report_changed(list(self._subscribers))

    def _handle(self, payload: str) -> None:
        kind, _, rest = payload.partition(" ")
        try:
            if kind == "changed":
                self._report_changed([uuid.UUID(pk) for pk in rest.split(",")])
            elif kind == "wake":
                worker, _, pk = rest.partition(" ")
                if worker == self._worker and self._on_wake is not None:
                    self._on_wake([uuid.UUID(pk)])
        except ValueError:
            logger.warning("A notification that this version cannot read was ignored.")

    def _report_changed(self, message_ids: Iterable[uuid.UUID]) -> None:
        for pk in message_ids:
            if (subscriber := self._subscribers.get(pk)) is not None:
                subscriber.rows_changed([pk])

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Notifications of PostgreSQL do not arrive, so the database is read every 0.3 s instead: %s.", reason
            )

    def _wait_before_retry(self) -> None:
        deadline = time.monotonic() + _RETRY_SECONDS
        while self._is_needed and time.monotonic() < deadline:
            time.sleep(_WAIT_SECONDS)


def _notify(using: str, payload: str) -> None:
    connection = connections[using]
    # Other databases have no notifications; `check` says so.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, payload))


def _import_psycopg() -> Any:
    try:
        return import_module("psycopg")
    except ImportError as error:
        raise ImproperlyConfigured(
            "PostgresNotifier needs psycopg 3, which is not installed: pip install 'psycopg[binary]'."
        ) from error


def _require_valid_dsn(psycopg: Any, dsn: Any) -> None:
    try:
        is_valid = bool(psycopg.conninfo.conninfo_to_dict(dsn))
    except (psycopg.Error, AttributeError):
        is_valid = False
    if not is_valid:
        # Only the scheme, since the rest may hold a password.
        scheme, separator, _rest = str(dsn).partition("://")
        got = f"{scheme}://…" if separator else f"{type(dsn).__name__} of length {len(str(dsn))}"
        raise ImproperlyConfigured(
            f"listen_dsn must be a connection string like postgresql://user@host/name, got {got}."
        )
