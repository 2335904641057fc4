"""The writer with real servers: outages, other processes, dead workers, and threads that must not end."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest import mock

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.signals import connection_created
from django.db.models.functions import Now
from django.dispatch import receiver
from django.test import TransactionTestCase, override_settings

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.reader import Reader
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.engine.run import Order
from streaming_chat.engine.runner import Runner, runner
from streaming_chat.engine.writer import writer
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent
from streaming_chat.notifiers import Notifier
from streaming_chat.protocol import events
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream
from streaming_chat.signals import reply_ended
from tests.factories import make_conversation, make_live, make_steady, make_user
from tests.provider_server import TIMEOUT, Gate, Script
from tests.servers import ServerTestCase, held, outcome, received_text, wait_until

from .test_ending_journal import make_file


class WriterTests(ServerTestCase):
    def test_a_database_that_is_locked_for_a_while_loses_nothing(self):
        """Endings wait for it, and so do readers: they get what is saved, not what was tried."""
        gate, end = Gate(), Gate()
        with held(gate, end), quick_to_give_up():
            self.provider.script(Script(["Hel", "lo ", "world"], gates={2: gate, 3: end}))
            exchange = self.browser.send("Hello").until_text("Hello ")
            with self.assertLogs("streaming_chat", "WARNING") as logs, locked(exchange.message_id):
                gate.open()
                exchange.until_text("Hello world")
                end.open()
                wait_until(lambda: runner.find(exchange.message_id).outcome and logs.output)
                early = list(exchange.endings)
            exchange.rest()

        assert early == []
        # SQLite's lock is that of the whole database, PostgreSQL's that of the reply.
        assert ("is away" if connection.vendor == "sqlite" else "cannot be saved now") in logs.output[0]
        assert exchange.text == "Hello world"
        assert len(exchange.endings) == 1
        assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")

    def test_a_reply_whose_lease_is_lost_ends_as_another_process_ended_it(self):
        """Its worker had paused for longer than its lease, as a suspended machine does."""
        gate = Gate()
        with held(gate):
            self.provider.script(Script(["Hel", "lo ", "world"], gates={2: gate}))
            exchange = self.browser.send("Hello").until_text("Hello ")
            wait_until(lambda: events.text_of(ReplyEvent.objects.stream(exchange.message_id)) == "Hello ")
            live = LiveReply.objects.filter(pk=exchange.message_id)
            wait_until(lambda: live.update(expires_at=Now() - timedelta(seconds=1)) and recover_reply(live.get()))
            exchange.rest()
            self.provider.wait_for(lambda: self.provider.calls[0].ended)
        message = self.ended(exchange.message_id)

        assert outcome(message) == ("interrupted", "lease_expired", "lease_expired")
        assert received_text(message) == exchange.text == "Hello "
        assert [frame.data["end_reason"] for frame in exchange.endings] == ["lease_expired"]
        assert self.provider.calls[0].closed_early

    def test_a_reply_whose_conversation_is_deleted_ends(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(["Hel", "lo ", "world"], gates={2: gate}))
            exchange = self.browser.send("Hello").until_text("Hello ")
            Conversation.objects.all().delete()
            exchange.rest()
            self.provider.wait_for(lambda: self.provider.calls[0].ended)

        assert len(exchange.endings) == 1
        assert exchange.text == ""
        assert self.provider.calls[0].closed_early

    def test_the_longest_replies_end_when_too_much_waits(self):
        """The short one waits on: it costs little."""
        gates = {"long": Gate(), "short": Gate()}
        self.provider.by_text["long"] = Script(["Hello", "!" * 1_000, "never"], gates={1: gates["long"], 2: Gate()})
        self.provider.by_text["short"] = Script(["Hello"], gates={1: gates["short"]})
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=self.enterContext(TemporaryDirectory())))
        self.enterContext(mock.patch("streaming_chat.engine.ending_watch._MOST_UNSAVED", 500))
        with held(*gates.values()), quick_to_give_up():
            long, short = (self.browser.send(asked).until_text("Hello") for asked in ("long", "short"))
            with self.assertLogs("streaming_chat", "WARNING"), locked(long.message_id):
                gates["long"].open()
                long.rest()
                early = outcome(Message.objects.get(pk=long.message_id))
            gates["short"].open()
            short.rest()
        message = self.ended(long.message_id)

        assert early[0] == "streaming"
        assert [frame.data["end_reason"] for frame in long.endings] == ["not_saved"]
        assert outcome(message) == ("interrupted", "not_saved", "not_saved")
        assert message.text == long.text == "Hello" + "!" * 1_000
        assert [frame.data["status"] for frame in short.endings] == ["completed"]

    def test_replies_of_dead_workers_are_recovered_on_the_way(self):
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        writer._takeover._next_recovery = 0.0
        make_steady()
        self.browser.send("Hello").rest()

        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")
        assert self.ended(dead.message_id).text == "Hel"

    def test_replies_of_its_own_that_no_run_writes_are_recovered(self):
        """The endings that it gave up, and those of requests that broke before their run began."""
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1, worker=writer.worker)
        writer._takeover._next_recovery = 0.0
        make_steady()
        self.browser.send("Hello").rest()

        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")

    def test_a_dead_reply_that_cannot_be_recovered_harms_no_other(self):
        odd = make_live(make_conversation(), Event("x", "no object, as a newer version may write"), expires=-2)
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        writer._takeover._next_recovery = 0.0
        make_steady()
        with self.assertLogs("streaming_chat", "ERROR"):
            exchange = self.browser.send("Hello").rest()

            assert writer.wait_until_idle(TIMEOUT)
        assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")
        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")

        odd.conversation.delete()

    def test_a_live_reply_of_its_own_is_never_recovered(self):
        """After a pause its own leases have run out, as those of a dead worker; only its runs renew them."""
        gate = Gate()
        self.provider.script(Script(["Hel", "lo"], gates={1: gate}))
        with held(gate):
            exchange = self.browser.send("Hello").until_text("Hel")
            wait_until(lambda: events.text_of(ReplyEvent.objects.stream(exchange.message_id)) == "Hel")
            dead = make_live(make_conversation(make_user("bea")), Event(TEXT, "Hel"), expires=-1)
            LiveReply.objects.filter(pk=exchange.message_id).update(expires_at=Now() - timedelta(seconds=1))
            make_steady()
            writer._takeover._next_recovery = 0.0

            assert outcome(self.ended(dead.message_id))[1] == "lease_expired"
            gate.open()
            exchange.rest()

        assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")

    def test_endings_of_other_workers_are_replayed_after_an_outage(self):
        """Their process may be gone, and this one goes on."""
        folder = self.enterContext(TemporaryDirectory())
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=folder))
        gate = Gate()
        self.provider.script(Script(["Hel", "lo"], gates={1: gate}))
        with held(gate):
            exchange = self.browser.send("Hello").until_text("Hel")
            wait_until(lambda: not writer._takeover.is_replay_due)
            record = make_file(folder, "It will rain")
            with self.assertLogs("streaming_chat", "WARNING") as logs, outage():
                wait_until(lambda: writer._flusher.is_away and logs.output)
            replayed = self.ended(record.message_id)
            is_live = LiveReply.objects.filter(pk=exchange.message_id).exists()
            gate.open()
            exchange.rest()

        assert outcome(replayed) == ("interrupted", "not_saved", "not_saved")
        assert is_live

    def test_it_says_that_it_does_not_work_while_the_database_is_away(self):
        gate = Gate()
        self.provider.script(Script(["Hel", "lo"], gates={1: gate}))
        self.enterContext(mock.patch("streaming_chat.engine.writer._NOT_WORKING_SECONDS", 0.2))
        with held(gate):
            exchange = self.browser.send("Hello").until_text("Hel")
            wait_until(lambda: writer.is_working)
            with self.assertLogs("streaming_chat", "WARNING"), outage():
                wait_until(lambda: not writer.is_working)
            wait_until(lambda: writer.is_working)
            gate.open()
            exchange.rest()

        assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")

    def test_a_signal_follows_the_commit(self):
        heard = []

        @receiver(reply_ended)
        def hear(sender, message, status, end_reason, **kwargs):
            heard.append((Message.objects.get(pk=message).status, status, end_reason))

        exchange = self.browser.send("Hello").rest()
        wait_until(lambda: heard)
        reply_ended.disconnect(hear)

        assert exchange.endings
        assert heard == [("completed", "completed", "stop")]


class KeptConnectionTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        assert writer.wait_until_idle(TIMEOUT)
        self.opened: list[Any] = []
        connection_created.connect(self.note)
        self.addCleanup(connection_created.disconnect, self.note)

    def note(self, connection: Any, **kwargs: Any) -> None:
        if threading.current_thread().name == "streaming_chat.writer":
            self.opened.append(connection)

    def send_twice(self, max_age: float | None) -> None:
        with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=max_age):
            for _time in range(2):
                self.browser.send("Hello").rest()
                wait_until(lambda: not writer._busy.is_set())

    def test_it_is_kept_for_the_next_reply_and_closed_for_a_test_that_waits(self):
        """An open connection would keep the test database from being dropped."""
        self.send_twice(None)
        was_open = self.opened[0].connection is not None

        assert writer.wait_until_idle(TIMEOUT)
        assert (len(self.opened), was_open, self.opened[0].connection) == (1, True, None)

    def test_it_is_closed_once_its_age_has_passed(self):
        self.send_twice(0.2)

        wait_until(lambda: self.opened[-1].connection is None)

    def test_without_an_age_it_is_closed_at_once(self):
        self.send_twice(0)

        wait_until(lambda: len(self.opened) == 2 and self.opened[-1].connection is None)


class DeadlyNotifier(Notifier):
    """Ends the first thread that asks it to listen."""

    ended: ClassVar[list[threading.Thread]] = []

    def listen(self, worker, on_wake, using):
        if not self.ended:
            self.ended.append(threading.current_thread())
            raise SystemExit


class UnableNotifier(Notifier):
    """Fails whenever it is asked to listen."""

    def listen(self, worker, on_wake, using):
        raise KeyError("channel")


class ThreadTests(ServerTestCase):
    """Replies that are accepted and streamed must be saved, whatever else of the site is broken."""

    def check(self, backend: str, **options: str) -> list[str]:
        """Send with this notifier, and return what the log says of errors."""
        notifier = {"BACKEND": backend, "OPTIONS": options}
        with self.settings(STREAMING_CHAT_NOTIFIER=notifier), self.assertLogs("streaming_chat", "ERROR") as logs:
            for _time in range(2):
                exchange = self.browser.send("Hello").rest()

                assert [frame.data["status"] for frame in exchange.endings] == ["completed"]
                assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")
                assert writer.wait_until_idle(TIMEOUT)
        return logs.output

    def test_a_notifier_that_cannot_be_created(self):
        """Of a URL that it does not take, as of a package that is missing."""
        logged = self.check("streaming_chat.notifiers.redis.RedisNotifier", url="redis+tls://localhost")

        assert len(logged) == 1
        assert "STREAMING_CHAT_NOTIFIER cannot be created" in logged[0]

    def test_a_notifier_that_fails(self):
        assert "KeyError" in self.check(f"{__name__}.UnableNotifier")[0]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_thread_that_dies(self):
        DeadlyNotifier.ended.clear()
        logged = self.check(f"{__name__}.DeadlyNotifier")

        assert not DeadlyNotifier.ended[0].is_alive()
        assert "streaming_chat.writer had ended and is started again" in logged[0]
        assert writer.is_working


class Endless(Provider, ProviderStream):
    """A provider that says one word and then waits for ever."""

    def stream(self, prompt):
        self.words = ["Hello"]
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *args):
        return None

    async def read(self):
        if self.words:
            return [Event(TEXT, self.words.pop())]
        await asyncio.Event().wait()
        return None


class ClosedLoopTests(TransactionTestCase):
    def run_in(self, run_loop: Callable):
        """Return a run that has received a word in a loop which has ended."""
        self.runner = Runner()
        live = make_live(make_conversation(), worker=writer.worker)
        order = Order(live.message_id, live.conversation_id, Endless("x"), Prompt(model="m"), {"message": ""}, None)

        async def begin():
            run = self.runner.start(order, asyncio.get_running_loop())
            reader = Reader(run.stream, SimpleEncoder(str(live.pk)))
            while b"Hello" not in await anext(reader):
                pass
            return run

        # In a thread: a run in the main one would put a handler before pytest's for the signals that end it.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run_loop, begin()).result(TIMEOUT)

    def check(self, run):
        assert run.ended.wait(TIMEOUT)
        assert writer.wait_until_idle(TIMEOUT)
        assert self.runner.live == []
        assert outcome(Message.objects.get(role="assistant")) == ("interrupted", "shutdown", "shutdown")
        assert Message.objects.get(role="assistant").text == "Hello"

    def test_a_run_whose_loop_ends_is_saved_and_forgotten(self):
        self.check(self.run_in(asyncio.run))

    def test_also_where_the_loop_is_closed_without_a_word_to_its_tasks(self):
        def run_and_close(begin):
            loop = asyncio.new_event_loop()
            # It would say that a task was lost.
            loop.set_exception_handler(lambda *_: None)
            try:
                return loop.run_until_complete(begin)
            finally:
                loop.close()

        self.check(self.run_in(run_and_close))


@contextlib.contextmanager
def outage():
    """Make every commit of every thread fail, as a database that has gone."""

    def fail(connection):
        raise OperationalError("server closed the connection unexpectedly")

    with mock.patch.object(type(connections["default"]), "_commit", fail):
        yield


def quick_to_give_up():
    """Make connections that are opened from now on wait 0.1 s for a lock, and the writer open one."""
    assert writer.wait_until_idle(TIMEOUT)
    default = connections.settings["default"]
    sooner = {"timeout": 0.1} if connection.vendor == "sqlite" else {"options": "-c lock_timeout=100"}
    return mock.patch.dict(default, {"OPTIONS": {**default["OPTIONS"], **sooner}})


class locked:  # noqa: N801  (a context manager)
    """Holds the lock of a live reply's row; on SQLite that is the whole database's."""

    def __init__(self, message_id: uuid.UUID) -> None:
        self.rows = LiveReply.objects.filter(pk=message_id)

    def __enter__(self) -> None:
        connection.set_autocommit(False)
        self.rows.update(slot=999)

    def __exit__(self, *args: object) -> None:
        connection.commit()
        connection.set_autocommit(True)
