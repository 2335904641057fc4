"""A PostgreSQL that a test may harm, and a test case over it: what the app does while its database is away.

    class PauseTests(FaultCase):
        def test_…(self):
            with self.postgres.paused():
                …

`FaultCase` talks to a server in a process of its own. Each test says what was sent, saved and seen; `python -m
tests.faults` prints that.
"""

import contextlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import environ
import psutil
import psycopg
from asgiref.local import Local
from django.core.management import call_command
from django.db import connection, connections
from django.test import TransactionTestCase

from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.protocol import events

from .factories import make_user
from .postgres import Postgres
from .provider_server import ProviderServer
from .servers import Browser, Exchange, ProcessServer, outcome, received_text, site, wait_until

# In place of 30 s, in which an ending that cannot be saved is tried again.
ENDING_SECONDS = float(os.environ.get("STREAMING_CHAT_TEST_ENDING_SECONDS", "2"))


class FaultyPostgres(Postgres):
    """One that can be harmed in more ways than its end."""

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement in a session of its own; return its rows, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as session:
            cursor = session.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def restart(self, number: int = signal.SIGINT) -> None:
        """Stop and start it."""
        self.stop(number)
        self.start()

    def terminate_sessions(self) -> int:
        """End all sessions but this one, and return how many there were."""
        rows = self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(rows)

    @property
    def has_busy_session(self) -> bool:
        """Whether a session other than this one runs a statement, or is in a transaction."""
        return self.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle')"
        )[0][0]

    @contextlib.contextmanager
    def away(self, number: int = signal.SIGQUIT) -> Iterator[None]:
        """Stop it for as long as the block lasts; by default as a crash does."""
        self.stop(number)
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let all its processes stand still: connections are taken, and nothing is answered."""
        assert self._server is not None
        parent = psutil.Process(self._server.pid)
        processes = [parent, *parent.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse writes with SQLSTATE 25006, as a primary that has become a standby does."""
        self._set_read_only("on")
        try:
            yield
        finally:
            self._set_read_only("off")

    def _set_read_only(self, value: str) -> None:
        self.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.execute("SHOW default_transaction_read_only") == [(value,)])


@contextlib.contextmanager
def default_database(url: str, **options: Any) -> Iterator[None]:
    """Make this the default database of this process, and of the servers that it starts."""
    settings = {"default": {**environ.Env.db_url_config(url), **options}}
    before = connections.settings["default"]
    _replace_default(connections.configure_settings(settings)["default"])
    try:
        yield
    finally:
        _replace_default(before)


def _replace_default(settings: dict[str, Any]) -> None:
    connections["default"].close()
    connections.settings["default"] = settings
    # The writer and the other threads have connections of their own, which are to the database before.
    connections._connections = Local(connections.thread_critical)


class OutageCase(TransactionTestCase):
    """Has a provider, a journal's folder and servers in processes of their own, over the default database of the moment."""

    SETTINGS: dict[str, Any] = {
        "STREAMING_CHAT_FLUSH_SECONDS": 0.2,
        "STREAMING_CHAT_LEASE_SECONDS": 2,
        # Less than the tests' sockets wait, where the ending is tried for the 30 s of production.
        "STREAMING_CHAT_HEARTBEAT_SECONDS": 5,
        "STREAMING_CHAT_DRAIN_SECONDS": 0.5,
    }

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(cls.database())
        call_command("migrate", verbosity=0)
        super().setUpClass()
        cls.journal = Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "journal"
        cls.provider = cls.enterClassContext(ProviderServer())
        cls.server = cls.enterClassContext(cls.serve())

    @classmethod
    def database(cls) -> contextlib.AbstractContextManager:
        """Return what makes the database under test the default one."""
        raise NotImplementedError

    @classmethod
    def serve(cls, ending_seconds: float = ENDING_SECONDS, **named: Any) -> ProcessServer:
        """Return another server over the same database. named: settings. ending_seconds: in place of 30."""
        settings = {**site(cls.provider), **cls.SETTINGS, "STREAMING_CHAT_JOURNAL_DIR": str(cls.journal), **named}
        with mock.patch.dict(os.environ, STREAMING_CHAT_TEST_ENDING_SECONDS=str(ending_seconds)):
            return ProcessServer(settings)

    def setUp(self) -> None:
        self.provider.clear()
        self.provider.by_text.clear()
        self.browser = self.browse(self.server)
        self.addCleanup(self.check_nothing_is_live)

    def browse(self, server: ProcessServer) -> Browser:
        """Return ana's browser at this server."""
        browser = Browser(server.port, make_user())
        self.addCleanup(browser.close)
        return browser

    def check_nothing_is_live(self) -> None:
        """Look at the rows, through a connection that has seen no outage."""
        connection.close()
        wait_until(lambda: not LiveReply.objects.exists(), 20)

        assert not Message.objects.filter(status="streaming").exists()
        assert not ReplyEvent.objects.exists()

    def ended(self, exchange: Exchange) -> Message:
        """Return a reply once its ending is saved."""
        connection.close()
        return wait_until(
            lambda: Message.objects.exclude(status="streaming").filter(pk=exchange.message_id).first(), 20
        )

    def saved_text(self, exchange: Exchange) -> str:
        """Return what is saved of a live reply."""
        return events.text_of(ReplyEvent.objects.stream(exchange.message_id))

    def until_saved(self, exchange: Exchange, text: str) -> None:
        """Wait until so much is saved of a live reply."""
        wait_until(lambda: self.saved_text(exchange) == text)

    def check(self, fault: str, exchange: Exchange, expected: tuple[str, str, str] = ("completed", "stop", "")) -> None:
        """Compare what the provider sent with what is saved, and with what the reader saw to the end; and note it."""
        message = self.ended(exchange)
        sent = self.sent(exchange)
        note(fault, sent, message, exchange)

        assert outcome(message) == expected
        assert received_text(message) == exchange.text == sent
        assert [frame.data["status"] for frame in exchange.endings] == [message.status]
        assert exchange.endings[0].data["sha256"] == message.end_payload()["sha256"]
        assert exchange.endings[0].data["length"] == len(message.text)

    def sent(self, exchange: Exchange) -> str:
        """Return what the provider sent of a reply, by what was asked."""
        asked = Message.objects.get(pk=exchange.message_id).parent.text
        calls = [call for call in self.provider.calls if call.prompt == asked]

        assert len(calls) == 1
        return calls[0].text


class FaultCase(OutageCase):
    """Has a PostgreSQL of its own."""

    postgres: FaultyPostgres

    @classmethod
    @contextlib.contextmanager
    def database(cls) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="streaming_chat_faulty_", ignore_cleanup_errors=True) as folder:
            # A crash must not lose what was committed.
            cls.postgres = FaultyPostgres(Path(folder), synchronous_commit="on")
            cls.postgres.start()
            try:
                with default_database(cls.postgres.url):
                    yield
            finally:
                cls.postgres.stop()


class Reading:
    """Reads an answer to its end beside the test."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._thread = threading.Thread(target=exchange.rest, daemon=True)
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        """Whether the answer has not ended."""
        return self._thread.is_alive()

    def join(self) -> Exchange:
        """Return the exchange at its end."""
        self._thread.join(20)

        assert not self.goes_on
        return self.exchange


def note(fault: str, sent: str, message: Message | None, *exchanges: Exchange) -> None:
    """Write down what became of a reply, for `python -m tests.faults`."""
    if path := os.environ.get("STREAMING_CHAT_TEST_FAULTS"):
        seen = [f"{len(exchange.text)} {_ending(exchange)}" for exchange in exchanges]
        saved = (
            f"{len(received_text(message))} {'/'.join(filter(None, outcome(message)[:2]))}" if message else "nothing"
        )
        line = {"fault": fault, "sent": len(sent), "saved": saved, "seen": seen}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def _ending(exchange: Exchange) -> str:
    return ", ".join(f"{frame.event} {frame.data['end_reason']}" for frame in exchange.endings) or "no ending"
