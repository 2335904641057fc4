"""Saving: many replies in one transaction, each ending once, and nobody harmed by another's trouble."""

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from tempfile import TemporaryDirectory
from unittest import mock

from django.db import connection, connections
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
from streaming_chat.protocol import events
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream
from streaming_chat.signals import reply_ended
from tests.factories import make_conversation, make_live, make_steady
from tests.provider_server import TIMEOUT, Gate, Script
from tests.servers import ServerTestCase, held, outcome, received_text, wait_until


class WriterTests(ServerTestCase):
    def test_a_database_that_is_locked_for_a_while_loses_nothing(self):
        """Endings wait for it, and so do readers: they are told of what is saved, not of what was tried."""
        gate, end = Gate(), Gate()
        with held(gate, end), quick_to_give_up():
            self.provider.script(Script(["Hel", "lo ", "world"], gates={2: gate, 3: end}))
            exchange = self.browser.send("Hello").until_text("Hello ")
            with self.assertLogs("streaming_chat", "WARNING") as logs, locked(exchange.message_id):
                gate.open()
                exchange.until_text("Hello world")
                end.open()
                wait_until(lambda: runner.find(exchange.message_id).outcome and logs.output)
                told = list(exchange.endings)
            exchange.rest()

        assert told == []
        # SQLite's lock is that of the whole database, PostgreSQL's that of the reply.
        assert ("is away" if connection.vendor == "sqlite" else "cannot be saved now") in logs.output[0]
        assert exchange.text == "Hello world"
        assert len(exchange.endings) == 1
        assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")

    def test_a_reply_that_loses_its_claim_ends_as_it_was_settled(self):
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
        self.provider.by_text["long"] = Script(["Hello", "!" * 100, "never"], gates={1: gates["long"], 2: Gate()})
        self.provider.by_text["short"] = Script(["Hello"], gates={1: gates["short"]})
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=self.enterContext(TemporaryDirectory())))
        self.enterContext(mock.patch("streaming_chat.engine.ending_watch._MOST_UNSAVED", 50))
        with held(*gates.values()), quick_to_give_up():
            long, short = (self.browser.send(asked).until_text("Hello") for asked in ("long", "short"))
            with self.assertLogs("streaming_chat", "WARNING"), locked(long.message_id):
                gates["long"].open()
                long.rest()
                told = outcome(Message.objects.get(pk=long.message_id))
            gates["short"].open()
            short.rest()
        message = self.ended(long.message_id)

        assert told[0] == "streaming"
        assert [frame.data["end_reason"] for frame in long.endings] == ["not_saved"]
        assert outcome(message) == ("interrupted", "not_saved", "not_saved")
        assert message.text == long.text == "Hello" + "!" * 100
        assert [frame.data["status"] for frame in short.endings] == ["completed"]

    def test_replies_of_dead_workers_are_settled_on_the_way(self):
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        writer._takeover.recover_soon()
        make_steady()
        self.browser.send("Hello").rest()

        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")
        assert self.ended(dead.message_id).text == "Hel"

    def test_replies_of_its_own_that_no_run_writes_are_settled(self):
        """The endings that it gave up, and those of requests that broke before their run began."""
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1, worker=writer.worker)
        writer._takeover.recover_soon()
        make_steady()
        self.browser.send("Hello").rest()

        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")

    def test_a_dead_reply_that_cannot_be_settled_harms_no_other(self):
        odd = make_live(make_conversation(), Event("x", "no object, as a newer version may write"), expires=-2)
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        writer._takeover.recover_soon()
        make_steady()
        with self.assertLogs("streaming_chat", "ERROR"):
            exchange = self.browser.send("Hello").rest()

            assert writer.wait_until_idle(TIMEOUT)
        assert outcome(self.ended(exchange.message_id)) == ("completed", "stop", "")
        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")

        odd.conversation.delete()

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
        order = Order(
            live.message_id, live.conversation_id, Endless("x"), Prompt("m", "", (), 9), {"message": ""}, None
        )

        async def begin():
            run = self.runner.start(order)
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
