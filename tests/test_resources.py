"""What open and aborted replies hold: database connections, threads, tasks and descriptors."""

import gc
import threading
from pathlib import Path

from django.contrib.sessions.models import Session
from django.db import connection
from django.test import override_settings

from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.runner import runner
from streaming_chat.models import Message

from .provider_server import Gate, Script
from .servers import ServerTestCase, held, wait_until

DELTAS = ("Hel", "lo ", "wörld")


def querying_middleware(get_response):
    """A synchronous middleware as sites have had them for long: it asks the database before and after the view."""

    def middleware(request):
        Session.objects.count()
        response = get_response(request)
        Session.objects.count()
        return response

    return middleware


@override_settings(
    SESSION_SAVE_EVERY_REQUEST=True,
    MIDDLEWARE=[
        "tests.test_resources.querying_middleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
class ResourceTests(ServerTestCase):
    def test_a_hundred_open_replies_hold_three_connections(self):
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchanges = [self.browser.send(f"message {number}") for number in range(100)]
            for exchange in exchanges:
                exchange.until_text("Hello ")
            wait_until(lambda: other_connections() <= 3)
            # They are written on, and saved, meanwhile.
            gate.open()
            for exchange in exchanges:
                exchange.rest()

        assert {exchange.text for exchange in exchanges} == {"Hello wörld"}
        assert Message.objects.filter(status="completed", role="assistant").count() == 100
        wait_until(lambda: other_connections() <= 3)

    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0)
    def test_five_hundred_aborted_replies_leave_nothing_behind(self):
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            for number in range(2):
                self.abort(50, number)
            self.settle()
            before = self.held()
            for number in range(10):
                self.abort(50, number)
            self.settle()

            wait_until(lambda: all(now <= then for now, then in zip(self.held(), before, strict=True)), 20)

    def abort(self, count: int, number: int) -> None:
        """Open replies and leave them: a third at once, a third at the first byte, a third in the middle."""
        exchanges = [self.browser.send(f"message {number}") for _ in range(count)]
        for index, exchange in enumerate(exchanges):
            if index % 3:
                exchange.until(lambda exchange=exchange: exchange.frames)
            if index % 3 == 2:
                exchange.until_text("Hello ")
            exchange.leave(("close", "reset")[index % 2])
        self.browser.exchanges.clear()

    def settle(self) -> None:
        """Wait until every reply has ended; one whose client left before the first byte has 5 s to meet a reader."""
        wait_until(lambda: not runner.live and not access_guard.count, 20)
        self.provider.wait_for(lambda: all(call.ended for call in self.provider.calls))
        self.provider.clear()

    def held(self) -> tuple[int, int, int, int]:
        """Return what the process holds: threads, tasks of the server, descriptors, connections.

        Garbage is collected first: under synchronous middleware, asgiref may run a view whose request was cancelled and
        whose connections Django has closed; what that opens is freed with its thread, by the collector.
        """
        gc.collect()
        return (
            threading.active_count(),
            self.server.tasks(),
            len(descriptors()),
            other_connections(),
        )


def other_connections() -> int:
    """Return how many connections to the database others than the test have; of SQLite, how often its log is open."""
    if connection.vendor == "sqlite":
        return descriptors().count(f"{connection.settings_dict['NAME']}-wal") - 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]


def descriptors() -> list[str]:
    """Return what this process's descriptors are, without the file of SQLite's database.

    SQLite keeps that of a closed connection for the next one while another of this process has a lock, as the test's has.
    """
    targets = map(_target, Path("/proc/self/fd").iterdir())
    return [target for target in targets if target != str(connection.settings_dict["NAME"])]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
