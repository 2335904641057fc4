"""A provider that does not let go of its connection cannot keep its reply, its conversation or its server from ending."""

import signal

from django.test import TransactionTestCase, override_settings

from streaming_chat.models import LiveReply, Message

from .factories import make_user
from .provider_server import TIMEOUT, ProviderServer
from .servers import Browser, ProcessServer, ServerTestCase, outcome, site, wait_until
from .stubborn import WORDS, StubbornProvider

TEXT = "".join(WORDS)
KINDS = ("swallow", "hang")
SHORT = 0.5


def stubborn_site(provider: ProviderServer, **options: float) -> dict:
    """Return the settings of a site whose providers also include the stubborn ones, with these options."""
    named = site(provider)
    for how in (*KINDS, "finish"):
        named["STREAMING_CHAT_PROVIDERS"][how] = {
            "BACKEND": "tests.stubborn.StubbornProvider",
            "OPTIONS": {"how": how, **options},
        }
        named["STREAMING_CHAT_MODELS"].append(f"{how}:any")
    return named


class StubbornProviderTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(override_settings(**stubborn_site(self.provider)))
        self.addCleanup(StubbornProvider.release)

    def open_replies(self, *kinds: str) -> dict:
        """Return an open reply of each kind, of which all that comes has been read."""
        opened = {how: self.browser.send(how, model=f"{how}:any") for how in kinds}
        for exchange in opened.values():
            exchange.until_text(TEXT)
        return opened

    def check(self, opened: dict, expected: tuple[str, str, str]) -> None:
        """Read to the endings; every conversation takes the next message."""
        for how, exchange in opened.items():
            exchange.rest()
            reply = Message.objects.get(pk=exchange.message_id)
            following = self.browser.post(
                f"api/conversations/{reply.conversation_id}/messages", {"content": "And?", "model": "openai:any"}
            )

            assert (how, outcome(reply), reply.text) == (how, expected, TEXT)
            assert following.status == 200
            following.rest()

    def test_a_stop_ends_the_reply(self):
        with self.assertLogs("streaming_chat", "ERROR") as logged:
            opened = self.open_replies(*KINDS)
            answers = [self.browser.stop(exchange.message_id) for exchange in opened.values()]

            assert [answer.json()["status"] for answer in answers] == ["stopped", "stopped"]
            self.check(opened, ("stopped", "user", ""))
        assert sum("has not let go" in line for line in logged.output) == 2

    def test_the_stall_timeout_ends_the_reply(self):
        with (
            self.settings(**stubborn_site(self.provider, stall_timeout=SHORT)),
            self.assertLogs("streaming_chat", "ERROR"),
        ):
            self.check(self.open_replies(*KINDS), ("interrupted", "provider_stall", "provider_stall"))

    @override_settings(STREAMING_CHAT_MAX_REPLY_SECONDS=SHORT)
    def test_the_longest_time_of_a_reply_ends_it(self):
        with self.assertLogs("streaming_chat", "ERROR"):
            self.check(self.open_replies(*KINDS), ("completed", "length_cap", ""))

    def test_a_complete_reply_does_not_wait_for_its_connection_to_close(self):
        with self.assertLogs("streaming_chat", "ERROR"):
            self.check(self.open_replies("finish"), ("completed", "stop", ""))

    def test_what_comes_after_the_ending_is_dropped(self):
        with self.assertLogs("streaming_chat", "ERROR"):
            opened = self.open_replies("swallow")
            self.browser.stop(opened["swallow"].message_id).json()
        [stream] = StubbornProvider.release()
        wait_until(lambda: stream.is_closed)

        self.check(opened, ("stopped", "user", ""))


class StubbornProviderAtShutdownTests(TransactionTestCase):
    def test_a_drain_ends_the_replies_and_the_server(self):
        with ProviderServer() as provider:
            named = {**stubborn_site(provider), "STREAMING_CHAT_DRAIN_SECONDS": SHORT}
            with ProcessServer(named) as server:
                browser = Browser(server.port, make_user())
                self.addCleanup(browser.close)
                opened = [browser.send(how, model=f"{how}:any").until_text(TEXT) for how in KINDS]
                server.terminate()
                for exchange in opened:
                    exchange.rest()
                code = server.process.wait(2 * TIMEOUT)
                log = server.log

        assert code in (0, -signal.SIGTERM), log
        assert {outcome(reply) for reply in Message.objects.filter(role="assistant")} == {
            ("interrupted", "shutdown", "shutdown")
        }
        assert not LiveReply.objects.exists()
