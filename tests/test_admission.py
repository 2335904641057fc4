"""A full process refuses before it writes a row, says when to try again, and goes on serving what it has. Real uvicorn."""

from django.test import override_settings

from streaming_chat.asgi import get_asgi_application
from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.runner import runner
from streaming_chat.models import Conversation, LiveReply, Message

from .provider_server import Gate, Script
from .servers import Browser, Exchange, ServerTestCase, ThreadServer, held, wait_until

DELTAS = ("Hel", "lo ", "wörld")
HALF = "Hello "
BURST = 40
LIMIT = 5


def rows() -> tuple[int, int, int]:
    """Return how many rows there are of what a send makes."""
    return Conversation.objects.count(), Message.objects.count(), LiveReply.objects.count()


class AdmissionTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        # Other tests send without a run; each is expected for 5 s, and counts.
        wait_until(lambda: not runner.is_expecting)
        self.gate = Gate()
        self.provider.default = Script(DELTAS, gates={2: self.gate})

    def open(self, count: int) -> list[Exchange]:
        return [self.browser.send(f"message {number}").until_text(HALF) for number in range(count)]

    def refuse(self, exchange: Exchange) -> None:
        assert exchange.status == 503
        assert exchange.json()["error"]["code"] == "full"
        assert int(exchange.headers["retry-after"]) > 0

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES=2)
    def test_a_process_that_writes_as_many_as_it_may_takes_no_more(self):
        with held(self.gate):
            opened = self.open(2)
            before = rows()
            self.refuse(self.browser.send("one more"))
            conversation = opened[0].frames[0].data["conversation"]
            self.refuse(Browser(self.server.port).send("another's"))
            after = rows()
            # Readers are no replies.
            second = self.browser.follow(opened[0].message_id).until_text(HALF)
            busy = self.browser.post(f"api/conversations/{conversation}/messages", {"content": "again"}).status
            self.gate.open()
            for exchange in (*opened, second):
                exchange.rest()
            wait_until(lambda: not runner.live)
            taken = self.browser.send("one more").rest()

        assert before == after == (2, 4, 2)
        assert busy == 409
        assert taken.text == "Hello wörld"

    @override_settings(STREAMING_CHAT_MAX_READERS=2)
    def test_a_process_that_serves_as_many_readers_as_it_may_takes_no_more(self):
        with held(self.gate):
            opened = self.open(2)
            before = rows()
            self.refuse(self.browser.send("one more"))
            self.refuse(self.browser.follow(opened[0].message_id))
            after = rows()
            opened[0].leave("reset")
            wait_until(lambda: access_guard.count == 1)
            again = self.browser.follow(opened[0].message_id, opened[0].frames[-1].id)
            self.gate.open()
            again.rest()
            opened[1].rest()

        assert before == after == (2, 4, 2)
        assert again.text == "wörld"

    @override_settings(STREAMING_CHAT_MAX_READERS=2)
    def test_what_is_no_stream_is_served_by_a_full_process(self):
        with held(self.gate):
            opened = self.open(2)
            stopped = self.browser.stop(opened[0].message_id).json()
            listed = self.browser.get("api/conversations").json()

        assert stopped["status"] == "stopped"
        assert len(listed["results"]) == 2

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES=LIMIT)
    def test_of_a_burst_as_many_are_taken_as_the_limit_says(self):
        """Also where the first have no run yet when the next are asked about. Who is refused has left nothing."""
        with held(self.gate), ThreadServer(get_asgi_application(threads=8)) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            burst = [browser.send(f"message {number}") for number in range(BURST)]
            taken = [exchange for exchange in burst if exchange.status == 200]
            after = rows()
            self.gate.open()
            for exchange in taken:
                exchange.rest()

        assert len(taken) == LIMIT
        assert after == (LIMIT, 2 * LIMIT, LIMIT)
        assert {exchange.status for exchange in burst} == {200, 503}
