"""The database goes away, in every way that it can: what was sent, what is saved of it, and what each reader saw."""

import signal
import sqlite3
import stat
import tempfile
import threading
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from streaming_chat.models import LiveReply, Message, ReplyEvent

from .faulty_postgres import ENDING_SECONDS, FaultCase, OutageCase, Reading, default_database, note
from .provider_server import Gate, Script
from .servers import Exchange, held, outcome, received_text, wait_until

pytestmark = pytest.mark.any_database

WORDS = tuple(f"wörd{number} " for number in range(10))
WHOLE = "".join(WORDS)
HALF = "".join(WORDS[:5])
NOT_SAVED = ("interrupted", "not_saved", "not_saved")


class PostgresTests(FaultCase):
    def open_half(self, asked: str, gate: Gate, end: Gate | None = None) -> Exchange:
        """Open a reply of which half is saved and the gate holds the rest."""
        gates = {5: gate} if end is None else {5: gate, len(WORDS): end}
        self.provider.by_text[asked] = Script(WORDS, gates=gates)
        exchange = self.browser.send(asked).until_text(HALF)
        self.until_saved(exchange, HALF)
        return exchange

    def wait_until_sent(self, asked: str) -> None:
        """Wait until the provider has sent the reply to this, and closed."""
        self.provider.wait_for(lambda: any(call.ended for call in self.provider.calls if call.prompt == asked))

    def wait_until_away(self, times: int) -> None:
        """Wait until the server has noticed so many outages."""
        wait_until(lambda: self.server.log.count("The database is away;") >= times)

    @property
    def outages(self) -> int:
        """How many outages the server has noticed so far."""
        return self.server.log.count("The database is away;")

    def test_at_the_start_nothing_is_asked_of_the_provider(self):
        with self.postgres.away():
            refused = self.browser.send("At the start")
            status, error = refused.status, refused.json()["error"]
        exchange = self.browser.send("And then").rest()

        assert (status, error["code"], error["retryable"]) == (503, "database_away", True)
        assert int(refused.headers["retry-after"]) > 0
        assert [call.prompt for call in self.provider.calls] == ["And then"]
        note("away at the start: 503 database_away, no call", "", None)
        self.check("the next send", exchange)

    def test_in_mid_reply_the_stream_goes_on_and_one_flush_catches_up(self):
        gate, end = Gate(), Gate()
        with held(gate, end):
            exchange = self.open_half("In mid-reply", gate, end)
            rows, before = ReplyEvent.objects.count(), self.outages
            with self.postgres.away():
                gate.open()
                exchange.until_text(WHOLE)
                self.wait_until_away(before + 1)
            connection.close()
            self.until_saved(exchange, WHOLE)
            caught_up = ReplyEvent.objects.count() - rows
            end.open()
            exchange.rest()

        assert caught_up == 1
        self.check("crashed in mid-reply, and recovered", exchange)

    def test_no_ending_is_sent_before_the_commit(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("At the ending", gate)
            before = self.outages
            with self.postgres.away(signal.SIGINT):
                reading = Reading(exchange)
                gate.open()
                self.wait_until_sent("At the ending")
                self.wait_until_away(before + 1)
                early = list(exchange.endings)
            reading.join()

        assert early == []
        self.check("restarted at the ending", exchange)

    def test_for_longer_than_readers_wait_the_ending_waits_in_the_journal(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("For long", gate)
            with self.postgres.away():
                gate.open()
                exchange.rest()
                file = self.journal / f"{exchange.message_id}.json"
                mode = stat.S_IMODE(file.stat().st_mode)
            wait_until(lambda: not file.exists())

        assert mode == 0o600
        self.check(f"away for longer than {ENDING_SECONDS:g} s, then journaled and replayed", exchange, NOT_SAVED)
        assert self.ended(exchange).finish_reason == "stop"

    def test_a_server_that_stands_still_is_no_different(self):
        """Connections are taken and nothing fails: the writer's thread waits in a statement for ever."""
        gate = Gate()
        with held(gate):
            exchange = self.open_half("Paused", gate)
            with self.postgres.paused():
                gate.open()
                exchange.rest()
                file = self.journal / f"{exchange.message_id}.json"
                waited = file.exists()
            wait_until(lambda: not file.exists())

        assert waited
        self.check(f"paused for longer than {ENDING_SECONDS:g} s, then journaled and replayed", exchange, NOT_SAVED)

    def test_a_short_pause_is_waited_for(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("Paused shortly", gate)
            with self.postgres.paused():
                gate.open()
                exchange.until_text(WHOLE)
            exchange.rest()

        self.check("paused at the ending", exchange)

    def test_sessions_that_are_ended_again_and_again_lose_nothing(self):
        """As `pg_terminate_backend` every 0.5 s does; a request that is hit is refused, never answered with 500."""
        self.provider.by_text["Terminated"] = Script([f"{number} " for number in range(60)], pause=0.05)
        ended, is_over = [], threading.Event()

        def terminate() -> None:
            while not is_over.wait(0.5):
                ended.append(self.postgres.terminate_sessions())

        terminator = threading.Thread(target=terminate)
        terminator.start()
        exchange = self.browser.send("Terminated").rest()
        is_over.set()
        terminator.join()

        assert sum(ended) >= 3
        self.check(f"pg_terminate_backend every 0.5 s, {sum(ended)} sessions", exchange)

    def test_a_kept_connection_that_was_closed_while_idle_is_no_outage(self):
        """As a firewall or a restart closes it. With the settings that the example site has."""
        kept = default_database(self.postgres.url, CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
        with kept, self.serve() as server:
            browser = self.browse(server)
            self.ended(browser.send("Before").rest())
            wait_until(lambda: not self.postgres.has_busy_session)
            self.postgres.terminate_sessions()
            exchange = browser.send("Afterwards").rest()
            log = server.log

        assert "is away" not in log
        self.check("a connection that was closed while idle", exchange)

    def test_a_server_that_turned_read_only_is_away(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("Read-only", gate)
            before = self.outages
            with self.postgres.read_only():
                reading = Reading(exchange)
                gate.open()
                self.wait_until_sent("Read-only")
                self.wait_until_away(before + 1)
                refused = self.browser.send("Meanwhile")
                status, code = refused.status, refused.json()["error"]["code"]
                early = list(exchange.endings)
            reading.join()

        assert early == []
        assert (status, code) == (503, "database_away")
        self.check("read-only (25006) at the ending", exchange)

    def test_a_row_that_another_holds_harms_its_own_reply_only(self):
        """As a worker that is paused in a transaction does, for ever."""
        gates = {name: Gate() for name in ("held", "other")}
        with held(*gates.values()):
            exchanges = {name: self.open_half(name, gate) for name, gate in gates.items()}
            with psycopg.connect(self.postgres.url) as session:
                pk = exchanges["held"].message_id
                session.execute(
                    "SELECT 1 FROM streaming_chat_livereply WHERE message_id = %s FOR UPDATE", [pk]
                ).fetchall()
                gates["other"].open()
                exchanges["other"].rest()
            gates["held"].open()
            exchanges["held"].rest()

        self.check("a row held elsewhere: the other reply", exchanges["other"])
        self.check("a row held elsewhere: its reply, once free", exchanges["held"])

    def test_a_value_that_is_refused_harms_its_own_reply_only(self):
        """What was saved before it is the reply, and its reader gets that ending, though the rest was seen."""
        table = "ALTER TABLE streaming_chat_replyevent"
        self.postgres.execute(f"{table} ADD CONSTRAINT taste CHECK (payload::text NOT LIKE '%poison%')")
        self.addCleanup(self.postgres.execute, f"{table} DROP CONSTRAINT taste")
        gate, end = Gate(), Gate()
        self.provider.by_text["Poison"] = Script([HALF, "poison", "!"], gates={1: gate, 2: end})
        with held(gate, end):
            other = self.open_half("Other", gate, end)
            poisoned = self.browser.send("Poison").until_text(HALF)
            self.until_saved(poisoned, HALF)
            gate.open()
            poisoned.until_text(HALF + "poison").rest()
            end.open()
            other.rest()
        message = self.ended(poisoned)
        note("a value that is refused: its reply", self.sent(poisoned), message, poisoned)

        assert outcome(message) == NOT_SAVED
        assert received_text(message) == poisoned.text == HALF
        assert [frame.data["length"] for frame in poisoned.endings] == [len(HALF)]
        self.check("a value that is refused: the other reply", other)

    def test_one_that_ends_every_session_holds_up_no_other(self):
        """As a value that crashes an extension: the database seems to go away, and answers the next connection."""
        table, function = "streaming_chat_replyevent", "crash"
        self.postgres.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.payload::text LIKE '%crash%' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
            " RETURN NEW; END $$"
        )
        self.postgres.execute(
            f"CREATE TRIGGER {function} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
        self.addCleanup(self.postgres.execute, f"DROP FUNCTION {function} CASCADE")
        gate, end = Gate(), Gate()
        self.provider.by_text["Crashing"] = Script([HALF, "crash", "!"], gates={1: gate, 2: end})
        with held(gate, end):
            others = [self.open_half(f"Beside it {number}", gate, end) for number in range(3)]
            crashing = self.browser.send("Crashing").until_text(HALF)
            gate.open()
            crashing.until_text(HALF + "crash")
            for other in others:
                self.until_saved(other, WHOLE)
            end.open()
            for exchange in (crashing, *others):
                exchange.rest()

        self.check("a reply that ends each session which saves it: another", others[0])
        # The ending is saved with all of the text at once, which this trigger does not see.
        self.check("a reply that ends each session which saves it: itself", crashing)


class ProcessTests(FaultCase):
    """What a worker does that ends, or stands still, itself."""

    def test_sigterm_while_away_journals_what_the_next_start_saves(self):
        self.check_sigterm("away", self.postgres.away())

    def test_sigterm_while_it_stands_still_does_so_too(self):
        """The writer's thread never comes back from its statement."""
        self.check_sigterm("paused", self.postgres.paused())

    def check_sigterm(self, how: str, outage: AbstractContextManager) -> None:
        gates = {"complete": Gate(), "cut": Gate()}
        with held(*gates.values()), self.serve(ending_seconds=60) as server:
            browser = self.browse(server)
            exchanges = {}
            for asked, gate in gates.items():
                self.provider.by_text[asked] = Script(WORDS, gates={5: gate})
                exchanges[asked] = browser.send(asked).until_text(HALF)
                self.until_saved(exchanges[asked], HALF)
            with outage:
                gates["complete"].open()
                exchanges["complete"].until_text(WHOLE)
                server.terminate()
                readings = [Reading(exchange) for exchange in exchanges.values()]
                code = server.process.wait(20)
                for reading in readings:
                    reading.join()
                files = sorted(path.name for path in self.journal.iterdir())
            connection.close()
            with self.serve() as another:
                self.browse(another).send("The first after it").rest()
                wait_until(lambda: not list(self.journal.iterdir()))

        assert code in (0, -signal.SIGTERM), server.log
        assert files == sorted(f"{exchange.message_id}.json" for exchange in exchanges.values())
        for asked, expected in (
            ("complete", ("completed", "stop", "")),
            ("cut", ("interrupted", "shutdown", "shutdown")),
        ):
            exchange = exchanges[asked]
            message = self.ended(exchange)
            note(f"SIGTERM while {how}: the reply that was {asked}", self.sent(exchange), message, exchange)

            assert outcome(message) == expected
            assert received_text(message) == exchange.text == self.sent(exchange)
            assert exchange.endings == []

    def test_a_worker_that_stood_still_for_longer_than_its_lease_changes_nothing(self):
        gate = Gate()
        self.provider.by_text["Stopped"] = Script(WORDS, gates={5: gate})
        with held(gate), self.serve() as server:
            exchange = self.browse(server).send("Stopped").until_text(HALF)
            self.until_saved(exchange, HALF)
            server.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: LiveReply.objects.expired().exists())
            call_command("recoverreplies", "--now", verbosity=0)
            recovered = Message.objects.filter(pk=exchange.message_id).values().get()
            server.process.send_signal(signal.SIGCONT)
            exchange.rest()
            self.provider.wait_for(lambda: self.provider.calls[0].ended)

        assert self.provider.calls[0].closed_early
        assert Message.objects.filter(pk=exchange.message_id).values().get() == recovered
        self.check("a worker stopped for longer than its lease", exchange, ("interrupted",) + ("lease_expired",) * 2)

    def test_sigterm_sends_those_who_follow_elsewhere(self):
        """uvicorn waits for open answers; those of replies that other processes write would end when these do."""
        gate = Gate()
        self.provider.by_text["Elsewhere"] = Script(WORDS, gates={5: gate})
        with held(gate), self.serve() as server:
            exchange = self.browser.send("Elsewhere").until_text(HALF)
            there = self.browse(server).follow(exchange.message_id).until_text(HALF)
            server.terminate()
            there.rest()
            code = server.process.wait(20)
            gate.open()
            again = self.browser.follow(exchange.message_id, there.frames[-1].id).rest()
            exchange.rest()

        assert code in (0, -signal.SIGTERM), server.log
        assert there.endings == []
        assert there.text + again.text == WHOLE
        self.check("SIGTERM of a process that only follows: the reply", exchange)


class SqliteTests(OutageCase):
    """Another connection holds the lock for longer than `timeout`."""

    @classmethod
    @contextmanager
    def database(cls):
        with tempfile.TemporaryDirectory() as folder:
            cls.file = Path(folder) / "faulty.sqlite3"
            # In place of 20 s.
            options = {"transaction_mode": "IMMEDIATE", "timeout": 0.5, "init_command": "PRAGMA journal_mode=WAL;"}
            with default_database(f"sqlite:///{cls.file}", OPTIONS=options):
                cls.SETTINGS = {
                    **cls.SETTINGS,
                    "DATABASES": {
                        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(cls.file), "OPTIONS": options}
                    },
                }
                yield

    @contextmanager
    def locked(self):
        session = sqlite3.connect(self.file, isolation_level=None)
        session.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            session.execute("ROLLBACK")
            session.close()

    def test_locked_at_the_ending(self):
        gate = Gate()
        self.provider.by_text["Locked"] = Script(WORDS, gates={5: gate})
        # On a busy machine, the refusal and the ending take longer than the others of this class have.
        with held(gate), self.serve(ending_seconds=30) as server:
            browser = self.browse(server)
            exchange = browser.send("Locked").until_text(HALF)
            with self.locked():
                reading = Reading(exchange)
                gate.open()
                wait_until(lambda: "The database is away;" in server.log)
                refused = browser.send("Meanwhile")
                status = refused.status
                early = list(exchange.endings)
            reading.join()

        assert early == []
        assert status == 503
        self.check("SQLite locked for longer than its timeout, at the ending", exchange)

    def test_locked_for_longer_than_readers_wait(self):
        gate = Gate()
        self.provider.by_text["Locked"] = Script(WORDS, gates={5: gate})
        with held(gate):
            exchange = self.browser.send("Locked").until_text(HALF)
            with self.locked():
                gate.open()
                exchange.rest()
            wait_until(lambda: not list(self.journal.iterdir()))

        self.check(
            f"SQLite locked for longer than {ENDING_SECONDS:g} s, then journaled and replayed", exchange, NOT_SAVED
        )
