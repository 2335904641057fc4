"""Saving: many replies in one transaction, each ending once, and nobody harmed by another's trouble."""

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from tempfile import TemporaryDirectory
from unittest import mock

from django.db import OperationalError, connection, connections
from django.db.models.functions import Now
from django.dispatch import receiver
from django.test import TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from psycopg.errors import DeadlockDetected, SerializationFailure

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.batch import Ledger
from streaming_chat.engine.reader import Reader
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.engine.run import Order
from streaming_chat.engine.runner import Runner, runner
from streaming_chat.engine.writer import writer
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import TEXT, TOOL_CALL, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream
from streaming_chat.signals import reply_ended
from tests.factories import make_conversation, make_live, make_steady
from tests.provider_server import TIMEOUT, Gate, Script
from tests.servers import ServerTestCase, held, outcome, received_text, wait_until

COMPLETED = Ending(endings.COMPLETED, "stop")
# JSON that neither database takes: no provider can send it through our parsing, but a site's own provider may.
POISON = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": float("nan"), "complete": True})


class Received:
    """A run as the writer sees it, whose events the test says. told: what its readers were told."""

    def __init__(self, worker: str, *texts: str) -> None:
        live = make_live(make_conversation(), worker=worker)
        self.message_id: uuid.UUID = live.message_id
        self.conversation_id: uuid.UUID = live.conversation_id
        self.outcome: Ending | None = None
        self.is_deserted = self.is_orphaned = False
        self.events = [Event("start", {})]
        self.fields: dict = {}
        # What asking for its columns raises, in place of the database: the last first.
        self.raises: list[Exception] = []
        self.stops: list = []
        self.told: list = []
        self.receive(*texts)

    def receive(self, *texts: str) -> None:
        self.events += [Event(TEXT, text) for text in texts]

    def columns(self) -> dict:
        if self.raises:
            raise self.raises.pop()
        return self.fields

    def request_stop(self, by: str, position: int | None) -> None:
        self.stops.append((by, position))

    def saved(self, payload: dict, end_position: int) -> None:
        self.told.append((payload["status"], end_position))

    @property
    def position(self) -> int:
        return events.length(self.events)

    @property
    def rows(self) -> list[Event]:
        return ReplyEvent.objects.stream(self.message_id)

    @property
    def message(self) -> Message:
        return Message.objects.get(pk=self.message_id)


class LedgerTests(TransactionTestCase):
    def setUp(self):
        self.ledger = Ledger("me")

    def runs(self, count: int) -> list[Received]:
        return [Received("me", f"text of {number}") for number in range(count)]

    def saved(self, runs: list[Received]) -> list[Received]:
        """Save these; return those whose ending is saved."""
        return self.ledger.save(runs).done

    def queries(self, runs: list[Received]) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            self.ledger.save(runs)
        return [query["sql"].split()[0] for query in captured]

    def test_many_replies_are_saved_in_one_transaction(self):
        """As many statements for 20 as for 2."""
        few, many = self.queries(self.runs(2)), self.queries(runs := self.runs(20))

        assert many == few
        assert many.count("COMMIT") == 1
        assert [run.rows for run in runs] == [[Event(TEXT, f"text of {number}")] for number in range(20)]

    def test_neighbours_are_saved_as_one_row(self):
        run = Received("me", "a", "b", "c")
        self.ledger.save([run])
        run.receive("d", "e")
        self.ledger.save([run])
        rows = list(ReplyEvent.objects.order_by("position").values_list("position", "payload"))

        assert rows == [(1, "abc"), (4, "de")]

    def test_an_ending_is_saved_with_all_that_came_before_it(self):
        run = Received("me", "Hel")
        self.ledger.save([run])
        run.receive("lo")
        run.outcome = COMPLETED
        done = self.saved([run])

        assert done == [run]
        assert run.told == [("completed", 6)]
        assert (run.message.text, run.message.position) == ("Hello", 6)
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()

    def test_a_value_that_the_database_refuses_harms_its_own_reply_only(self):
        runs = self.runs(3)
        self.ledger.save(runs)
        for run in runs:
            run.receive(" and more")
        runs[1].events.append(POISON)
        with self.assertLogs("streaming_chat", "ERROR"):
            done = self.saved(runs)

        assert done == [runs[1]]
        assert outcome(runs[1].message) == ("interrupted", "not_saved", "not_saved")
        assert runs[1].message.text == "text of 1"
        assert runs[1].told == [("interrupted", 10)]
        assert runs[1].stops
        assert [events.text_of(run.rows) for run in runs[::2]] == ["text of 0 and more", "text of 2 and more"]

    def test_it_is_found_by_halves(self):
        """One by one, 64 replies would take 64 transactions."""
        runs = self.runs(64)
        runs[40].events.append(POISON)
        with self.assertLogs("streaming_chat", "ERROR"):
            queries = self.queries(runs)

        assert queries.count("ROLLBACK") == 7
        # Six halves without it, and its own ending.
        assert queries.count("COMMIT") == 7
        assert {run.message_id for run in runs if not run.rows} == {runs[40].message_id}

    def test_an_ending_that_the_database_refuses_harms_its_own_reply_only(self):
        runs = self.runs(3)
        self.ledger.save(runs)
        for run in runs:
            run.outcome = COMPLETED
        runs[1].fields = {"input_tokens": 2**70}
        with self.assertLogs("streaming_chat", "ERROR"):
            done = self.saved(runs)

        assert set(done) == set(runs)
        assert [run.message.status for run in runs] == ["completed", "interrupted", "completed"]
        assert [run.message.text for run in runs] == ["text of 0", "text of 1", "text of 2"]
        assert not LiveReply.objects.exists()

    def test_a_reply_that_was_settled_elsewhere_gets_the_others_ending(self):
        run = Received("me", "Hel")
        self.ledger.save([run])
        LiveReply.objects.update(expires_at=Now() - timedelta(seconds=1))
        settled = recover_reply(LiveReply.objects.get())
        run.receive("lo")
        run.outcome = COMPLETED
        done = self.saved([run])

        assert settled
        assert done == [run]
        assert run.told == [("interrupted", 4)]
        assert outcome(run.message) == ("interrupted", "lease_expired", "lease_expired")
        assert run.message.text == "Hel"
        assert not ReplyEvent.objects.exists()

    def test_a_reply_that_another_worker_claimed_is_let_alone(self):
        run = Received("me", "Hel")
        LiveReply.objects.update(worker="another")
        self.ledger.save([run])

        assert not ReplyEvent.objects.exists()
        assert LiveReply.objects.get().worker == "another"
        assert run.message.status == "streaming"

    def test_a_reply_that_was_deleted_is_done_with(self):
        run, other = self.runs(2)
        Conversation.objects.filter(pk=run.conversation_id).delete()
        done = self.saved([run, other])

        assert done == [run]
        assert len(run.told) == 1
        assert other.rows == [Event(TEXT, "text of 1")]

    def test_what_was_saved_by_a_commit_whose_answer_was_lost_is_not_saved_again(self):
        run = Received("me", "Hel", "lo")
        with answer_lost():
            self.ledger.save([run])
        run.receive(" world")
        self.ledger.save([run])

        assert run.rows == [Event(TEXT, "Hello world")]

    def test_what_was_not_saved_by_a_commit_that_failed_is_saved_by_the_next(self):
        run = Received("me", "Hel", "lo")
        with answer_lost(happens=False):
            self.ledger.save([run])
        run.receive(" world")
        self.ledger.save([run])

        assert run.rows == [Event(TEXT, "Hello world")]

    def test_an_ending_whose_answer_was_lost_is_told_as_it_was_saved(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        with answer_lost():
            failed = self.ledger.save([run])
        with self.assertNoLogs("streaming_chat", "WARNING"):
            done = self.saved([run])

        assert failed.outage is not None
        assert done == [run]
        assert run.told == [("completed", 6)]

    def test_a_commit_whose_answer_is_lost_is_looked_at_for_every_reply_in_it(self):
        """The next save may be of those only that have ended."""
        first, second = self.runs(2)
        with answer_lost():
            outage = self.ledger.save([first, second]).outage
        self.ledger.save([first])
        second.receive(", and more")
        self.ledger.save([first, second])

        assert isinstance(outage, OperationalError)
        assert second.rows == [Event(TEXT, "text of 1, and more")]
        assert second.told == []

    def test_an_ending_that_was_given_up_meanwhile_is_not_saved(self):
        given_up, other = self.runs(2)
        given_up.outcome = other.outcome = COMPLETED
        self.ledger = Ledger("me", seal=lambda ids: ids & {given_up.message_id})
        done = self.saved([given_up, other])

        assert done == [other]
        assert (given_up.message.status, given_up.told) == ("streaming", [])
        assert other.message.status == "completed"

    def test_nobody_is_told_of_an_ending_that_was_given_up_while_it_was_committed(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        Ledger("me", take=lambda _run: False).save([run])

        assert run.message.status == "completed"
        assert run.told == []

    def test_a_deadlock_is_retried_at_once(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        run.raises = [error_of(DeadlockDetected), error_of(SerializationFailure)]
        done = self.saved([run])

        assert done == [run]
        assert run.told == [("completed", 6)]

    def test_one_that_seems_to_take_the_database_away_holds_up_no_other(self):
        """Once it is known that the database answers, it is looked for, and set aside."""
        runs = self.runs(5)
        odd = runs[2]
        odd.outcome = COMPLETED
        odd.raises = [OperationalError("…")] * 100
        whole = self.ledger.save(runs)
        with self.assertLogs("streaming_chat", "WARNING"):
            divided = self.ledger.save(runs, divide=True)
        for run in runs:
            run.receive(", and more")
        later = self.ledger.save(runs)
        odd.raises = []
        last = self.ledger.save(runs)

        assert whole.outage is not None
        for saving in (divided, later):
            assert (saving.outage, saving.waiting) == (None, [odd])
        assert [events.text_of(run.rows) for run in runs[:2]] == ["text of 0, and more", "text of 1, and more"]
        assert last.done == [odd]
        assert odd.message.text == "text of 2, and more"

    def test_many_of_them_are_the_databases_own_trouble(self):
        runs = self.runs(12)
        for run in runs:
            run.outcome = COMPLETED
            run.raises = [OperationalError("…")] * 100
        with self.assertLogs("streaming_chat", "WARNING"):
            saving = self.ledger.save(runs, divide=True)

        assert saving.outage is not None
        assert {run.message.status for run in runs} == {"streaming"}

    def test_a_stop_from_elsewhere_is_handed_over_once_saved(self):
        run = Received("me", "Hello")
        LiveReply.objects.all().request_stop("user", 3)
        LiveReply.objects.all().request_stop("staff", 1)
        self.ledger.save([run])

        assert run.stops == [("user", 3)]

    def test_a_deserted_reply_is_stopped_unless_somebody_follows_elsewhere(self):
        deserted, followed = self.runs(2)
        deserted.is_deserted = followed.is_deserted = True
        LiveReply.objects.filter(pk=followed.message_id).update(followed_until=Now() + timedelta(seconds=60))
        self.ledger.save([deserted, followed])
        self.ledger.save([deserted, followed])

        assert deserted.stops[0] == ("disconnect", None)
        assert followed.stops == []

    def test_a_lease_is_renewed_by_each_save(self):
        run = Received("me")
        LiveReply.objects.update(expires_at=Now())
        self.ledger.save([run])

        assert not LiveReply.objects.expired().exists()

    def test_that_of_a_reply_without_news_only_in_each_third_of_its_time(self):
        """1,000 quiet replies were 2,000 updates a second; one that is stopped is still noticed at each save."""
        run = Received("me", "text")
        self.ledger.save([run])
        self.expire_soon()
        self.ledger.save([run])

        assert LiveReply.objects.expired().exists()

        run.receive(" and more")
        self.ledger.save([run])

        assert not LiveReply.objects.expired().exists()

        self.expire_soon()
        LiveReply.objects.request_stop("user")
        self.ledger.save([run])

        assert LiveReply.objects.expired().exists()
        assert run.stops == [("user", None)]

    def test_and_then_it_is(self):
        run = Received("me", "text")
        self.ledger.save([run])
        self.expire_soon()
        with self.settings(STREAMING_CHAT_LEASE_SECONDS=0.3):
            wait_until(lambda: self.ledger.save([run]) and not LiveReply.objects.expired().exists())

    def expire_soon(self):
        LiveReply.objects.update(expires_at=Now() - timedelta(seconds=1))


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
        assert ("is away" if connection.vendor == "sqlite" else "waits to be saved") in logs.output[0]
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
        self.enterContext(mock.patch("streaming_chat.engine.writer._MOST_UNSAVED", 50))
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
        writer._next_recovery = 0.0
        make_steady()
        self.browser.send("Hello").rest()

        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")
        assert self.ended(dead.message_id).text == "Hel"

    def test_replies_of_its_own_that_no_run_writes_are_settled(self):
        """The endings that it gave up, and those of requests that broke before their run began."""
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1, worker=writer.worker)
        writer._next_recovery = 0.0
        make_steady()
        self.browser.send("Hello").rest()

        assert outcome(self.ended(dead.message_id)) == ("interrupted", "lease_expired", "lease_expired")

    def test_a_dead_reply_that_cannot_be_settled_harms_no_other(self):
        odd = make_live(make_conversation(), Event("x", "no object, as a newer version may write"), expires=-2)
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        writer._next_recovery = 0.0
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

    def test_nothing_is_kept_of_a_reply_that_is_saved_while_it_is_looked_at(self):
        """The second thread looks at a list that it made a moment before."""
        run = Received(writer.worker, "Hello")
        run.outcome = COMPLETED
        writer._give_up([run])

        assert writer._ended_since == {}

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


def error_of(cause: type[Exception]) -> OperationalError:
    """Return Django's error for one of PostgreSQL's."""
    error = OperationalError()
    error.__cause__ = cause()
    return error


def answer_lost(happens: bool = True):
    """Make the connection break at the next commits, once they have happened or before."""
    commit = connection._commit

    def broken():
        if happens:
            commit()
        raise OperationalError("server closed the connection unexpectedly")

    return mock.patch.object(connection, "_commit", broken)


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
