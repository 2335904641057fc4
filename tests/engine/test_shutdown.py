"""A server that ends: told to, with replies in mid-air, or killed. uvicorn in a process of its own."""

import itertools
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from django.core.management import call_command
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from streaming_chat.engine import shutdown
from streaming_chat.engine.run import RELEASE_SECONDS
from streaming_chat.engine.shutdown import Drain
from streaming_chat.models import LiveReply, Message, ReplyEvent
from tests.factories import make_user
from tests.provider_server import TIMEOUT, Gate, ProviderServer, Script
from tests.servers import Browser, ProcessServer, held, outcome, received_text, site, wait_until

WORDS = tuple(f"wörd{number} " for number in range(20))
HALF = "".join(WORDS[:10])
# How long the server may take to go, beyond the time it gives its replies: generous, for a busy machine.
EXIT_SECONDS = 20


class ShutdownCase(TransactionTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.provider = cls.enterClassContext(ProviderServer())

    def setUp(self):
        self.provider.clear()
        self.gates = []

    def serve(self, *arguments: str, **settings) -> ProcessServer:
        server = ProcessServer({**site(self.provider), "STREAMING_CHAT_FLUSH_SECONDS": 0.5, **settings}, *arguments)
        self.enterContext(server)
        self.browser = Browser(server.port, make_user())
        self.addCleanup(self.browser.close)
        return server

    def open_replies(self, count: int, gates: dict[str, Gate]) -> dict:
        """Open so many replies, held by these gates in turn after ten words; half of them lose their reader."""
        exchanges = {}
        for number, name in zip(range(count), itertools.cycle(gates), strict=False):
            asked = f"{name} {number}"
            self.provider.by_text[asked] = Script(WORDS, gates={10: gates[name]})
            exchanges[asked] = self.browser.send(asked)
        for number, exchange in enumerate(exchanges.values()):
            exchange.until_text(HALF)
            if number % 2:
                exchange.leave("reset")
        return {asked: exchange for number, (asked, exchange) in enumerate(exchanges.items()) if not number % 2}

    def check_nothing_is_live(self) -> None:
        assert not Message.objects.filter(status="streaming").exists()
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()

    def replies(self) -> dict[str, Message]:
        """Return the replies by what was asked."""
        found = Message.objects.filter(role="assistant").select_related("parent")
        return {reply.parent.text: reply for reply in found}

    def calls(self) -> dict:
        return {call.prompt: call for call in self.provider.calls}


class DrainTests(ShutdownCase):
    def drain(self, *arguments: str) -> None:
        gates = {"finishing": Gate(), "unfinished": Gate(), "slow": Gate()}
        with held(*gates.values()):
            server = self.serve(*arguments, STREAMING_CHAT_DRAIN_SECONDS=2)
            followed = self.open_replies(100, gates)
            server.terminate()
            wait_until(lambda: self.browser.get("health").status == 503)
            refused = self.browser.send("one more")
            gates["finishing"].open()
            for exchange in followed.values():
                exchange.rest()
            code = server.process.wait(EXIT_SECONDS)

            assert refused.status == 503
            assert refused.json()["error"]["code"] == "draining"
            # uvicorn ends by the signal that it was sent, since its 0.29.
            assert code in (0, -signal.SIGTERM), server.log
            self.check_replies(followed)

    def check_replies(self, followed: dict) -> None:
        calls, replies = self.calls(), self.replies()
        self.check_nothing_is_live()
        assert len(replies) == len(calls) == 100
        for asked, reply in replies.items():
            finished = asked.startswith("finishing")
            expected = ("completed", "stop", "") if finished else ("interrupted", "shutdown", "shutdown")

            assert outcome(reply) == expected
            assert received_text(reply) == reply.text == calls[asked].text == ("".join(WORDS) if finished else HALF)
        for asked, exchange in followed.items():
            assert exchange.text == replies[asked].text
            assert [frame.data["status"] for frame in exchange.endings] == [replies[asked].status]
            assert exchange.frames[-1].data == "[DONE]"

    def test_sigterm_with_a_hundred_open_replies_loses_nothing(self):
        self.drain()

    def test_nor_does_it_under_a_graceful_timeout(self):
        """uvicorn cancels every task when it passes, without running one `finally`."""
        self.drain("--timeout-graceful-shutdown", "2")

    def test_a_second_signal_does_not_wait(self):
        gate = Gate()
        with held(gate):
            server = self.serve(STREAMING_CHAT_DRAIN_SECONDS=600)
            followed = self.open_replies(4, {"held": gate})
            server.terminate()
            wait_until(lambda: self.browser.get("health").status == 503)
            server.terminate()
            for exchange in followed.values():
                exchange.rest()
            code = server.process.wait(EXIT_SECONDS)

            assert code in (0, -signal.SIGTERM), server.log
            assert {outcome(reply) for reply in self.replies().values()} == {("interrupted", "shutdown", "shutdown")}
            assert {reply.text for reply in self.replies().values()} == {HALF}
            self.check_nothing_is_live()

    def test_a_server_without_live_replies_goes_at_once(self):
        server = self.serve(STREAMING_CHAT_DRAIN_SECONDS=600)
        self.browser.send("done").rest()
        server.terminate()

        assert server.process.wait(EXIT_SECONDS) in (0, -signal.SIGTERM)


class Unending:
    """A run that is never saved."""

    def __init__(self):
        self.ended = threading.Event()
        self.has_been_shut_down = False

    def shut_down(self):
        self.has_been_shut_down = True


class WaitTests(SimpleTestCase):
    def test_a_run_that_is_about_to_start_is_waited_for(self):
        expected, handed_over = [True], []
        drain = Drain(list, lambda: bool(expected), lambda: handed_over.append(1))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(drain.wait, TIMEOUT)
            early = waiting.done()
            expected.clear()
            waiting.result(TIMEOUT)

        assert not early
        assert not drain.is_busy
        assert handed_over == []

    def test_what_cannot_be_saved_is_handed_over(self):
        run, handed_over = Unending(), []
        drain = Drain(lambda: [run], lambda: False, lambda: handed_over.append(1))
        with mock.patch.object(shutdown, "_SAVE_SECONDS", 0.05), self.assertLogs("streaming_chat", "ERROR"):
            drain.end_all()

        assert run.has_been_shut_down
        assert drain.is_over
        assert handed_over == [1]

    def test_providers_may_take_their_time_to_let_go(self):
        """Else replies that are about to be concluded would be handed over."""
        assert shutdown._SAVE_SECONDS > RELEASE_SECONDS


class KillTests(ShutdownCase):
    SETTINGS = {"STREAMING_CHAT_LEASE_SECONDS": 1, "STREAMING_CHAT_FLUSH_SECONDS": 0.5}

    def test_a_killed_server_leaves_replies_to_be_settled_with_all_but_their_last_second(self):
        server = self.serve(**self.SETTINGS)
        for number in range(3):
            with self.subTest(f"round {number}"):
                self.provider.clear()
                saved_before = self.kill_in_mid_reply(server, number)
                server = self.serve(**self.SETTINGS)
                self.settle(number)
                self.check_replies(number, saved_before)

    def kill_in_mid_reply(self, server: ProcessServer, number: int) -> dict[str, int]:
        """Kill it while 20 replies are written; return how many deltas had been sent a second before."""
        self.provider.default = Script(WORDS * 100, pause=0.05)
        exchanges = [self.browser.send(f"{number}/{reply}") for reply in range(20)]
        for exchange in exchanges:
            exchange.until(lambda exchange=exchange: exchange.text)
        for exchange in exchanges[::2]:
            exchange.leave("close")
        self.provider.wait_for(lambda: all(len(call.deltas) >= 10 for call in self.provider.calls))
        sent = {call.prompt: len(call.deltas) for call in self.provider.calls}
        # 0.05 s each: more than a second.
        self.provider.wait_for(
            lambda: all(len(call.deltas) >= sent[call.prompt] + 25 for call in self.provider.calls), 60
        )
        server.kill()
        self.provider.wait_for(lambda: all(call.ended for call in self.provider.calls))
        return sent

    @override_settings(**SETTINGS)
    def settle(self, number: int) -> None:
        """Half of them are met by a reader, half by the command."""
        dead = Message.objects.filter(status="streaming").order_by("pk")
        assert dead.count() == 20
        for message in list(dead)[::2]:
            exchange = self.browser.follow(message.pk).rest()
            assert [frame.data["end_reason"] for frame in exchange.endings] == ["lease_expired"]
        wait_until(lambda: LiveReply.objects.expired().count() == 10)
        call_command("recoverreplies", "--now", verbosity=0)

    def check_replies(self, number: int, saved_before: dict[str, int]) -> None:
        self.check_nothing_is_live()
        calls, replies = self.calls(), self.replies()
        assert len(calls) == 20
        for asked, call in calls.items():
            reply = replies[asked]

            assert outcome(reply) == ("interrupted", "lease_expired", "lease_expired")
            assert call.text.startswith(reply.text)
            assert len(reply.text) >= len("".join(call.deltas[: saved_before[asked]]))
