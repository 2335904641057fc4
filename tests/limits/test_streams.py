"""A process's streams: however many one owner asks for, the others have theirs, and new messages are taken."""

from django.test import override_settings

from streaming_chat.engine.access_guard import access_guard
from tests.factories import make_user
from tests.provider_server import Gate, Script
from tests.servers import Browser, Exchange, ServerTestCase, held, wait_until

DELTAS = ("Hel", "lo ", "wörld")
LONGEST = 40
SHARE = 8
# A tenth of all is kept for new messages.
RESERVE = LONGEST // 10


limited = override_settings(STREAMING_CHAT_MAX_READERS=LONGEST, STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=3)


class StreamTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        wait_until(lambda: not access_guard.count)
        self.gate = Gate()
        self.provider.default = Script(DELTAS, gates={2: self.gate})

    def browser_of(self, name: str) -> Browser:
        browser = Browser(self.server.port, make_user(name))
        self.addCleanup(browser.close)
        return browser

    def follow(self, browser: Browser, sent: Exchange, count: int) -> list[int]:
        """Request this many streams of a reply, and return the statuses. Accepted streams stay open."""
        return [browser.follow(sent.message_id).status for _ in range(count)]

    @limited
    def test_an_owners_streams_do_not_grow_with_their_requests(self):
        with held(self.gate):
            counts = []
            for number, asked in enumerate((SHARE, 2 * SHARE)):
                browser = self.browser_of(f"user{number}")
                sent = browser.send("mine").until_text("Hello ")
                counts.append(self.follow(browser, sent, asked).count(200))
            refused = browser.follow(sent.message_id)
            code = refused.json()["error"]["code"]

        assert counts == [SHARE - 1, SHARE - 1]
        assert (refused.status, code) == (429, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0

    @limited
    def test_a_full_process_takes_new_messages_and_shows_them(self):
        """Each owner opens the maximum number of streams: the last streams are refused, and another owner can still send."""
        with held(self.gate):
            statuses = []
            for number in range(LONGEST // SHARE):
                browser = self.browser_of(f"user{number}")
                statuses += self.follow(browser, browser.send("mine").until_text("Hello "), SHARE - 1)
            count = access_guard.count
            sent = self.browser.send("Am I let in?").until_text("Hello ")

        assert set(statuses) == {200, 503}
        assert count <= LONGEST - RESERVE + 1
        assert sent.status == 200
