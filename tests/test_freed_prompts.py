"""A prompt, which may be megabytes, is freed with its reply: by its last reference, not by the cyclic collector."""

import gc

from streaming_chat.engine.runner import runner
from streaming_chat.providers.base import Prompt

from .provider_server import Gate, Script
from .servers import ServerTestCase, held, wait_until
from .views.test_plain import post_form


class FreedPromptTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        # Other test modules have some of their own, as constants.
        self.known = prompts()

    def check_freed(self) -> None:
        """Wait until the replies are saved, and nothing holds a prompt: the server may just be finishing its request."""
        wait_until(lambda: not runner.live)
        wait_until(lambda: len(prompts()) == len(self.known))

    def test_after_a_streamed_reply(self):
        self.browser.send("Hi").rest()

        self.check_freed()

    def test_after_an_answer_in_one_piece(self):
        answer = self.browser.send("Hi", stream=False)

        assert answer.status == 200
        self.check_freed()

    def test_after_a_post_of_the_plain_page(self):
        answer = post_form(self.browser, "", "Hi")

        assert answer.status == 303
        self.check_freed()

    def test_after_a_stop(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(["Hel", "lo"], gates={1: gate}))
            exchange = self.browser.send("Hi").until_text("Hel")
            self.browser.stop(exchange.message_id).json()
            exchange.rest()

        self.check_freed()

    def test_after_a_client_has_left(self):
        with self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0):
            gate = Gate()
            with held(gate):
                self.provider.script(Script(["Hel", "lo"], gates={1: gate}))
                self.browser.send("Hi").until_text("Hel").leave("reset")
                self.reply_to("Hi")

        self.check_freed()

    def test_after_a_provider_that_refuses(self):
        self.provider.script(Script(status=401, body={}))
        self.browser.send("Hi").rest()

        self.check_freed()


def prompts() -> list[Prompt]:
    """Return the prompts that this process holds."""
    return [found for found in gc.get_objects() if isinstance(found, Prompt)]
