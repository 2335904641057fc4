"""gunicorn, with threads and with one thread a worker: real processes, sockets and signals."""

import os
from unittest import mock

import psutil
import pytest
from django.contrib.auth.models import User
from django.test import TransactionTestCase

from streaming_chat.models import LiveReply, Message, ReplyEvent

from .factories import make_user
from .provider_server import TIMEOUT, Gate, ProviderServer, Script
from .servers import Browser, Exchange, GunicornServer, held, outcome, received_text, site, wait_until
from .test_slow_readers import Staller

pytestmark = pytest.mark.any_database

WORDS = tuple(f"wörd{number} " for number in range(20))
HALF = "".join(WORDS[:10])
TEXT = "".join(WORDS)
GTHREAD = ("--worker-class", "gthread", "--threads", "12")
# While one of them streams, it serves nobody else.
SYNC = ("--worker-class", "sync", "--workers", "3")
EXIT_SECONDS = 20
# How long a stream of a worker without threads lasts here; 20 in truth.
STREAM_SECONDS = float(os.environ.get("STREAMING_CHAT_TEST_STREAM_SECONDS", "2"))


class GunicornCase(TransactionTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.provider = cls.enterClassContext(ProviderServer())

    def setUp(self):
        self.provider.clear()
        self.provider.by_text.clear()

    def serve(self, *arguments: str, **settings) -> GunicornServer:
        server = self.enterContext(GunicornServer({**site(self.provider), **settings}, *arguments))
        wait_until(lambda: server.workers)
        self.browser = Browser(server.port, make_user())
        self.addCleanup(self.browser.close)
        return server

    def reply(self, exchange: Exchange) -> Message:
        """Return a reply once its ending is saved."""
        return wait_until(
            lambda: Message.objects.exclude(status="streaming").filter(pk=exchange.message_id).first(), 20
        )

    def check_nothing_is_live(self) -> None:
        assert not Message.objects.filter(status="streaming").exists()
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()


class BothKindsOfWorker:
    """Facts that hold with threads and without. arguments: gunicorn's. alone: for one that serves one request at a time."""

    arguments: tuple[str, ...]
    alone: tuple[str, ...]

    def test_the_reply_comes_as_it_is_written(self):
        self.serve(*self.arguments)
        gates = [Gate(), Gate()]
        with held(*gates):
            self.provider.script(Script(WORDS, gates={1: gates[0], 10: gates[1]}))
            exchange = self.browser.send("Hello").until_text(WORDS[0])
            gates[0].open()
            exchange.until_text(HALF)
            gates[1].open()
            exchange.rest()

        assert exchange.text == TEXT
        assert exchange.headers["content-encoding"] == "identity"
        assert outcome(self.reply(exchange)) == ("completed", "stop", "")

    def test_threads_start_after_the_fork(self):
        """A thread of the master's would be missing in its workers."""
        server = self.serve(*self.arguments, "--preload")
        exchange = self.browser.send("Hello").rest()

        assert [frame.event for frame in exchange.endings] == ["done"]
        assert psutil.Process(server.process.pid).num_threads() == 1

    def test_who_leaves_is_missed_at_the_next_writes(self):
        """The first write after a client has gone still succeeds: TCP answers it with a reset."""
        self.serve(*self.arguments)
        gate = Gate()
        with held(gate):
            self.provider.script(Script(WORDS * 100, gates={10: gate}, pause=0.01))
            exchange = self.browser.send("Hello", disconnect="stop").until_text(HALF)
            exchange.leave("close")
            gate.open()
            reply = self.reply(exchange)

        assert outcome(reply) == ("stopped", "disconnect", "")
        assert received_text(reply).startswith(HALF)
        assert "".join(WORDS * 100).startswith(received_text(reply))

    def test_silence_is_broken_so_that_who_left_is_missed(self):
        self.serve(*self.arguments, STREAMING_CHAT_HEARTBEAT_SECONDS=0.2)
        gate = Gate()
        with held(gate):
            self.provider.script(Script(WORDS, gates={10: gate}))
            exchange = self.browser.send("Hello", disconnect="stop").until_text(HALF)
            exchange.leave("close")
            reply = self.reply(exchange)

        assert (outcome(reply), reply.text) == (("stopped", "disconnect", ""), HALF)

    def test_a_stop_saves(self):
        """Without threads it comes to another worker."""
        self.serve(*self.arguments)
        gate = Gate()
        with held(gate):
            self.provider.script(Script(WORDS, gates={10: gate}))
            exchange = self.browser.send("Hello").until_text(HALF)
            stopped = self.browser.stop(exchange.message_id).json()
            exchange.rest()

        assert (stopped["status"], stopped["text"]) == ("stopped", HALF)
        assert [frame.event for frame in exchange.endings] == ["stopped"]

    def test_sigterm_loses_nothing(self):
        """To the master, which tells its workers; replies may finish for a time, also those without a reader."""
        server = self.serve(*self.arguments, STREAMING_CHAT_DRAIN_SECONDS=2)
        gates = {"finishing": Gate(), "unfinished": Gate()}
        with held(*gates.values()):
            exchanges = {}
            for asked, gate in gates.items():
                self.provider.by_text[asked] = Script(WORDS, gates={10: gate})
                exchanges[asked] = self.browser.send(asked).until_text(HALF)
            server.terminate()
            self.expect_draining(server)
            gates["finishing"].open()
            for exchange in exchanges.values():
                exchange.rest()
            code = server.process.wait(EXIT_SECONDS)
            replies = {asked: self.reply(exchange) for asked, exchange in exchanges.items()}

        assert code == 0, server.log
        self.check_nothing_is_live()
        assert outcome(replies["finishing"]) == ("completed", "stop", "")
        assert outcome(replies["unfinished"]) == ("interrupted", "shutdown", "shutdown")
        assert (replies["finishing"].text, replies["unfinished"].text) == (TEXT, HALF)
        for asked, exchange in exchanges.items():
            assert exchange.text == replies[asked].text
            assert [frame.data["status"] for frame in exchange.endings] == [replies[asked].status]

    def test_sigterm_waits_for_a_reply_that_nobody_reads(self):
        """gunicorn does not: the worker goes, and its process stays for what it still writes."""
        server = self.serve(
            *self.arguments,
            *("--access-logfile", "-"),
            STREAMING_CHAT_DRAIN_SECONDS=10,
            STREAMING_CHAT_HEARTBEAT_SECONDS=0.1,
        )
        gate = Gate()
        with held(gate):
            self.provider.script(Script(WORDS, gates={10: gate}))
            exchange = self.browser.send("Hello").until_text(HALF)
            exchange.leave("reset")
            wait_until(lambda: '"POST /chat/api/messages' in server.log)
            count = len(server.workers)
            server.terminate()
            wait_until(lambda: server.log.count("Worker exiting") == count)
            gate.open()
            code = server.process.wait(EXIT_SECONDS)

        assert code == 0, server.log
        assert outcome(self.reply(exchange)) == ("completed", "stop", "")

    def test_a_killed_workers_reply_is_settled_by_another(self):
        server = self.serve(*self.arguments, STREAMING_CHAT_LEASE_SECONDS=1)
        gate = Gate()
        with held(gate):
            self.provider.script(Script(WORDS, gates={10: gate}))
            exchange = self.browser.send("Hello").until_text(HALF)
            wait_until(lambda: LiveReply.objects.exclude(worker="").exists())
            wait_until(ReplyEvent.objects.exists)
            for worker in server.workers:
                worker.kill()
            followed = self.browser.follow(exchange.message_id).rest()

        assert [frame.data["end_reason"] for frame in followed.endings] == ["lease_expired"]
        assert HALF.startswith(followed.text)
        self.check_nothing_is_live()

    def test_a_client_that_takes_nothing_frees_its_thread(self):
        limits = {"STREAMING_CHAT_SEND_TIMEOUT_SECONDS": 1, "STREAMING_CHAT_MAX_REPLY_CHARS": 20_000_000}
        self.serve(*self.alone, **limits)
        self.provider.script(Script(["wörd " * 1000] * 2000), Script(WORDS))
        staller = Staller(self.browser, "stalled")
        self.addCleanup(staller.socket.close)

        assert self.browser.send("next").rest().text == TEXT
        replies = Message.objects.filter(parent__text="stalled").exclude(status="streaming")
        assert outcome(wait_until(replies.first)) == ("completed", "stop", "")

    def test_readers_of_a_deactivated_owner_end(self):
        self.serve(*self.arguments, STREAMING_CHAT_HEARTBEAT_SECONDS=0.3)
        gate = Gate()
        with held(gate):
            self.provider.script(Script(WORDS, gates={10: gate}))
            exchange = self.browser.send("Hello").until_text(HALF)
            User.objects.update(is_active=False)
            exchange.rest()

        assert [frame.data["error"]["code"] for frame in exchange.endings] == ["forbidden"]
        assert outcome(self.reply(exchange)) == ("completed", "stop", "")

    def expect_draining(self, server: GunicornServer) -> None:
        """Return once the master has told its workers."""
        wait_until(lambda: "Handling signal: term" in server.log)


class GthreadTests(BothKindsOfWorker, GunicornCase):
    arguments = GTHREAD
    alone = ("--worker-class", "gthread", "--threads", "1")


class SyncTests(BothKindsOfWorker, GunicornCase):
    arguments = SYNC
    alone = ("--worker-class", "sync")


@mock.patch.dict(os.environ, STREAMING_CHAT_TEST_STREAM_SECONDS=str(STREAM_SECONDS))
class SyncPatienceTests(GunicornCase):
    """gunicorn kills a sync worker that is busy for longer than --timeout, and with it every reply that it writes."""

    arguments = (*SYNC, "--timeout", str(max(6, round(1.5 * STREAM_SECONDS))))

    def all_workers(self, server: GunicornServer) -> list[psutil.Process]:
        """Return them, once all three are there."""
        wait_until(lambda: len(server.workers) == 3)
        return server.workers

    def slow(self) -> Script:
        """Return a reply that takes three times as long as a stream may, and longer than the worker's timeout."""
        return Script(WORDS, pause=max(8, 3 * STREAM_SECONDS) / len(WORDS))

    def read_on(self, exchange: Exchange) -> list[Exchange]:
        """Read to the ending as a client does, from the last id whenever the stream ends without one."""
        exchanges = [exchange.rest()]
        while not exchanges[-1].endings:
            # Else gunicorn waits for that, 2 s.
            exchanges[-1].close()
            read = [frame for each in exchanges for frame in each.frames]
            exchanges.append(self.browser.follow(exchange.message_id, read[-1].id).rest())
        return exchanges

    def test_a_reply_outlives_the_workers_timeout_by_being_resumed(self):
        """STREAMING_CHAT_TEST_STREAM_SECONDS=20 tries it with the real figures: a reply of 60 s, a timeout of 30."""
        for disconnect in ("finish", "stop"):
            with self.subTest(disconnect):
                self.provider.clear()
                server = self.serve(*self.arguments)
                workers = self.all_workers(server)
                self.provider.script(self.slow())
                exchanges = self.read_on(self.browser.send("Hello", disconnect=disconnect))

                assert 3 <= len(exchanges) <= 7
                assert "".join(exchange.text for exchange in exchanges) == TEXT
                assert [frame.event for frame in exchanges[-1].endings] == ["done"]
                assert outcome(self.reply(exchanges[0])) == ("completed", "stop", "")
                assert len(self.provider.calls) == 1
                assert server.workers == workers

    def test_who_does_not_want_a_stream_is_told_how_far_it_is(self):
        """And follows it from there."""
        server = self.serve(*self.arguments)
        workers = self.all_workers(server)
        self.provider.script(self.slow())
        answer = self.browser.post("api/messages", {"content": "Hello", "stream": False})
        answer._socket.settimeout(2 * STREAM_SECONDS + TIMEOUT)
        message = answer.json()["message"]
        answer.close()

        assert (answer.status, message["status"]) == (202, "streaming")
        exchanges = self.read_on(self.browser.follow(message["id"]))

        assert "".join(exchange.text for exchange in exchanges) == TEXT
        assert [frame.event for frame in exchanges[-1].endings] == ["done"]
        assert server.workers == workers
