"""Between the app and PostgreSQL stands pgbouncer in transaction mode, and may go away itself."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from .faulty_postgres import FaultCase, FaultyPostgres, Reading, default_database
from .pgbouncer import PgBouncer
from .provider_server import Gate, Script
from .servers import held, outcome, wait_until

pytestmark = pytest.mark.nginx

WORDS = tuple(f"wörd{number} " for number in range(10))
HALF = "".join(WORDS[:5])


class PgBouncerTests(FaultCase):
    @classmethod
    @contextmanager
    def database(cls):
        with tempfile.TemporaryDirectory(prefix="streaming_chat_faulty_", ignore_cleanup_errors=True) as folder:
            cls.postgres = FaultyPostgres(Path(folder), synchronous_commit="on")
            cls.postgres.start()
            try:
                with PgBouncer(cls.postgres.port) as cls.bouncer, default_database(cls.bouncer.url):
                    yield
            finally:
                connection.close()
                cls.postgres.stop()

    def open_half(self, asked: str, gate: Gate):
        self.provider.by_text[asked] = Script(WORDS, gates={5: gate})
        exchange = self.browser.send(asked).until_text(HALF)
        self.until_saved(exchange, HALF)
        return exchange

    def test_replies_of_two_processes_stream_stop_and_are_followed(self):
        """With fewer sessions than clients, each transaction may run in another one."""
        gate = Gate()
        with held(gate), self.serve() as server:
            there = self.browse(server)
            exchanges = [self.open_half(f"Behind pgbouncer {number}", gate) for number in range(6)]
            followed = [there.follow(exchange.message_id).until_text(HALF) for exchange in exchanges]

            assert there.stop(exchanges[0].message_id).status in (200, 202)
            exchanges[0].rest()
            gate.open()
            for exchange in (*exchanges, *followed):
                exchange.rest()

        for exchange, follower in zip(exchanges, followed, strict=True):
            expected = ("stopped", "user", "") if exchange is exchanges[0] else ("completed", "stop", "")
            self.check("behind pgbouncer, in transaction mode", exchange, expected)
            assert follower.text == exchange.text
            assert [frame.data["status"] for frame in follower.endings] == [expected[0]]

    def test_no_session_keeps_what_one_transaction_set(self):
        self.browser.send("Hello").rest()
        with psycopg.connect(self.bouncer.url, autocommit=True) as session:
            found = {session.execute("SHOW lock_timeout").fetchone() for _ in range(20)}

        assert found == {("0",)}

    def test_it_goes_away_and_comes_back(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("pgbouncer away", gate)
            self.bouncer.stop()
            reading = Reading(exchange)
            gate.open()
            wait_until(lambda: "The database is away;" in self.server.log)
            refused = self.browser.send("Meanwhile").status
            told = list(exchange.endings)
            self.bouncer.start()
            reading.join()

        assert (told, refused) == ([], 503)
        self.check("pgbouncer away at the ending", exchange)

    def test_the_server_behind_it_is_restarted(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("Restarted behind pgbouncer", gate)
            connection.close()
            self.postgres.restart()
            gate.open()
            exchange.rest()

        message = self.ended(exchange)

        assert outcome(message) == ("completed", "stop", "")
        self.check("restarted behind pgbouncer", exchange)
