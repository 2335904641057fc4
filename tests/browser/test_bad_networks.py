"""The chat page where networks, proxies, sessions and servers fail: what it shows in the end is what is saved."""

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from streaming_chat.models import LiveReply, Message, ReplyEvent
from tests.database import database_url
from tests.factories import make_conversation, make_reply
from tests.provider_server import Gate, ProviderServer, Script
from tests.servers import held, wait_until

from .chat import ChatPage
from .conftest import sign_in, watched
from .line import BufferingLine, Line
from .server import Server

PASSWORD = "a word for tests"
# Twice the heartbeat of the site's settings, and the 5 s that element.py adds.
SILENCE_MILLISECONDS = 35_000
# How long the page waits for a first event before it polls for the reply, and between its polls: see reply-poller.js.
PATIENCE_MILLISECONDS = 10_000
PERIOD_MILLISECONDS = 2_000
NOTE_ENDINGS = """() => {
    window.endings = [];
    document.addEventListener("streaming-chat:ended", ({ detail }) => window.endings.push(detail));
}"""


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


@pytest.fixture
def line(site: str) -> Iterator[Line]:
    with Line(site) as line:
        yield line


@pytest.fixture
def lined(chromium: Browser, line: Line, user) -> Iterator[ChatPage]:
    """Return a chat at the end of a line, on a page whose clock the test can move."""
    with chat_at(chromium, line, user) as chat:
        yield chat


@contextmanager
def chat_at(chromium: Browser, line: Line, user) -> Iterator[ChatPage]:
    with watched(chromium, base_url=line.url) as context:
        sign_in(context, line.url, user)
        page = context.new_page()
        page.clock.install()
        yield ChatPage(page).open()


@pytest.fixture
def server(provider: ProviderServer, user) -> Iterator[Server]:
    """Return a server for this test alone, whose dead are settled after 2 s and whose streams beat every 0.25 s."""
    with Server(**environment(provider)) as server:
        yield server


def environment(provider: ProviderServer, **more: str) -> dict[str, str]:
    short = {"STREAMING_CHAT_LEASE_SECONDS": "2", "STREAMING_CHAT_HEARTBEAT_SECONDS": "0.25"}
    return {"DATABASE_URL": database_url(), "PROVIDER_URL": provider.openai_url, **short, **more}


def gated(*deltas: str) -> tuple[Script, list[Gate]]:
    """Return a reply that stands before each delta but the first, and its gates in that order."""
    gates = [Gate() for _delta in deltas[1:]]
    return Script(deltas, gates=dict(enumerate(gates, start=1))), gates


def is_stream(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


def is_resume(request: Request) -> bool:
    return request.url.endswith("/events")


def position(request: Request) -> int:
    """Return after which position a request goes on, 0 where it starts over."""
    return int(request.headers.get("last-event-id", "/0").rpartition("/")[2])


def the_reply() -> Message:
    return Message.objects.get(role="assistant")


def log_in(context: BrowserContext, user) -> None:
    """Sign in by the login page, in another tab."""
    user.set_password(PASSWORD)
    user.save()
    tab = context.new_page()
    tab.goto("/accounts/login/")
    tab.get_by_label("Username").fill(user.username)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_label("Password").press("Enter")
    tab.wait_for_url(lambda url: "/accounts/login/" not in url)
    tab.close()


class TestServersThatEnd:
    def test_a_killed_server_leaves_what_is_saved_and_a_way_to_go_on(self, chromium, server, user, provider):
        """The page has seen more than the dead server had saved, or just as much: in the end it shows the saved."""
        script, gates = gated("Saved", ", seen", ", lost")
        provider.script(script, Script(["Whole"]))
        with held(*gates), watched(chromium, base_url=server.root) as context:
            sign_in(context, server.root, user)
            chat = ChatPage(context.new_page()).open()
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Saved")
            wait_until(lambda: ReplyEvent.objects.filter(kind="text").exists())
            gates[0].open()
            expect(chat.reply()).to_have_text("Saved, seen")
            server.kill()
            expect(chat.status).to_have_text("Connection lost. Reconnecting…")
            server.start()
            chat.expect_end("interrupted")
            saved = the_reply().text

            assert saved in {"Saved", "Saved, seen"}
            expect(chat.reply()).to_have_text(saved)
            chat.button("Regenerate").click()
            expect(chat.reply()).to_have_text("Whole")
            chat.expect_end()
            expect(chat.replies.last).to_contain_text("2 of 2")
            assert len(provider.calls) == 2

    def test_a_server_that_is_told_to_end_finishes_the_reply(self, chromium, server, user, provider):
        script, (gate,) = gated("Half", ", whole")
        provider.script(script, Script(["Next"]))
        with held(gate), watched(chromium, base_url=server.root) as context:
            sign_in(context, server.root, user)
            chat = ChatPage(context.new_page()).open()
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Half")
            server.terminate()
            wait_until(lambda: context.request.get("/chat/health").status == 503)
            gate.open()
            chat.expect_end()
            expect(chat.reply()).to_have_text("Half, whole")
            server.wait()
            server.start()
            chat.say("Again")

            expect(chat.reply()).to_have_text("Next")
            chat.expect_end()
            assert [message.text for message in Message.objects.filter(role="assistant")] == ["Half, whole", "Next"]

    def test_another_server_takes_over_from_the_one_that_was_killed(self, chromium, server, user, provider):
        """The page follows by a second process, through the tail, and by the writing one when the second is gone."""
        script, gates = gated("One", " two", " three")
        provider.script(script)
        follower = Server(**environment(provider))
        with held(*gates), follower, Line(server.root) as line, chat_at(chromium, line, user) as chat:
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            with chat.page.expect_request(is_resume):
                line.lead_to(follower.root)
            gates[0].open()
            expect(chat.reply()).to_have_text("One two")
            follower.kill()
            with chat.page.expect_request(is_resume) as resumed:
                line.lead_to(server.root)
            gates[1].open()
            chat.expect_end()
            follower.start()

            assert position(resumed.value) == 1 + len("One two")
            expect(chat.reply()).to_have_text(script.text)
            assert len(provider.calls) == 1


class TestReturning:
    def test_a_reload_goes_on_at_the_position(self, chat, provider):
        script, (gate,) = gated("Before 🎈", " and after")
        provider.script(script)
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Before 🎈")
            with chat.page.expect_request(is_resume) as resumed:
                chat.reload()
            expect(chat.reply()).to_have_text("Before 🎈")
            gate.open()
            chat.expect_end()

        assert position(resumed.value) == 1 + len("Before 🎈")
        assert chat.reply().text_content() == script.text
        assert len(provider.calls) == 1

    def test_a_closed_tab_is_opened_again_from_the_list(self, chat, provider, context):
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Before")
            chat.page.close()
            again = ChatPage(context.new_page()).open()
            again.page.locator(".sc-conversation").click()
            expect(again.reply()).to_have_text("Before")
            gate.open()
            again.expect_end()

        assert again.reply().text_content() == script.text
        assert len(provider.calls) == 1

    def test_another_device_follows(self, chat, provider, chromium, site, user):
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        with held(gate), watched(chromium, base_url=site) as device:
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Before")
            sign_in(device, site, user)
            other = ChatPage(device.new_page()).open(f"c/{chat.conversation_id}")
            expect(other.reply()).to_have_text("Before")
            gate.open()
            for follower in (chat, other):
                follower.expect_end()
                assert follower.reply().text_content() == script.text
        assert len(provider.calls) == 1


class TestLines:
    def test_a_network_that_is_back_is_used_at_once(self, lined, line, provider):
        """The page's clock stands: no wait of its own can end, only the event ends it."""
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        page = lined.page
        with held(gate):
            lined.say("Hi")
            expect(lined.reply()).to_have_text("Before")
            page.context.set_offline(True)
            line.cut()
            expect(lined.status).to_have_text("Connection lost. Reconnecting…")
            stop_clock(page)
            with page.expect_request(is_resume) as resumed:
                page.context.set_offline(False)
            page.clock.resume()
            gate.open()
            lined.expect_end()

        assert position(resumed.value) == 1 + len("Before")
        assert lined.reply().text_content() == script.text

    def test_a_stream_from_another_network_is_given_up(self, lined, line, provider):
        """It may be dead on a network that was left, and nothing says so."""
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        page = lined.page
        with held(gate):
            lined.say("Hi")
            expect(lined.reply()).to_have_text("Before")
            stop_clock(page)
            with page.expect_request(is_resume):
                page.evaluate("dispatchEvent(new Event('online'))")
            page.clock.resume()
            gate.open()
            lined.expect_end()

        assert lined.reply().text_content() == script.text

    def test_a_page_that_wakes_up_gives_up_a_silent_stream_only(self, lined, line, provider):
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        page = lined.page
        wake = "document.dispatchEvent(new Event('visibilitychange'))"
        asked = []
        with held(gate):
            lined.say("Hi")
            expect(lined.reply()).to_have_text("Before")
            page.on("request", lambda request: is_resume(request) and asked.append(request))
            page.evaluate(f"() => {{ {wake} }}")
            page.clock.fast_forward(3_000)
            with page.expect_request(is_resume):
                page.evaluate(f"() => {{ {wake} }}")
            gate.open()
            lined.expect_end()

        assert len(asked) == 1
        assert lined.reply().text_content() == script.text

    def test_a_line_that_died_without_a_word_is_noticed(self, chromium, server, user, provider):
        """Heartbeats keep the page waiting; without them it asks again after twice their time and 5 s."""
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        with held(gate), Line(server.root) as line, watched(chromium, base_url=line.url) as context:
            sign_in(context, line.url, user)
            chat = ChatPage(context.new_page()).open()
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Before")
            line.stall()
            stalled = chat.page.evaluate("performance.now()")
            with chat.page.expect_request(is_resume):
                pass
            waited = chat.page.evaluate("performance.now()") - stalled
            line.flow()
            gate.open()
            chat.expect_end()

            assert 5_000 < waited < 9_000
            assert chat.reply().text_content() == script.text

    def test_a_line_that_swallows_the_send_makes_one_message(self, lined, line, provider):
        """Nothing answers at all: the request itself is given up, and made again."""
        page = lined.page
        line.stall()
        sends = []
        page.on("request", lambda request: request.method == "POST" and sends.append(request.post_data_json))
        lined.say("Hi")
        wait_in(page, lambda: len(sends) == 1)
        with page.expect_request(lambda request: request.method == "POST"):
            page.clock.fast_forward(SILENCE_MILLISECONDS + 1_000)
        line.flow()
        lined.expect_end()

        assert sends[0] == sends[1]
        assert Message.objects.count() == 2
        assert len(provider.calls) == 1

    def test_a_send_that_was_stopped_is_not_tried_again(self, lined, line, provider):
        line.stall()
        lined.say("Hi")
        # Not a cut: on a connection that it used before, Chromium itself sends once more.
        wait_until(lambda: line.asked("POST", "/api/messages"))
        lined.stop.click()
        lined.page.clock.fast_forward(SILENCE_MILLISECONDS + 1_000)

        expect(lined.text).to_have_value("Hi")
        expect(lined.users).to_have_count(0)
        expect(lined.send_button).to_be_visible()
        expect(lined.status).to_have_text("")
        assert provider.calls == []

    def test_a_resume_that_is_swallowed_is_made_again(self, lined, line, provider):
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        page = lined.page
        with held(gate):
            lined.say("Hi")
            expect(lined.reply()).to_have_text("Before")
            line.stall()
            for _try in range(2):
                with page.expect_request(is_resume) as resumed:
                    page.clock.fast_forward(SILENCE_MILLISECONDS + 1_000)
                assert position(resumed.value) == 1 + len("Before")
            line.flow()
            gate.open()
            lined.expect_end()

        assert lined.reply().text_content() == script.text

    def test_a_stream_without_an_ending_is_resumed(self, lined, line, provider):
        """A proxy ends it in good form; nothing but the ending event says that a reply is whole."""
        script, gates = gated("One", " two", " three")
        provider.script(script)
        with held(*gates):
            lined.say("Hi")
            for gate, shown in zip(gates, ["One", "One two"], strict=True):
                expect(lined.reply()).to_have_text(shown)
                with lined.page.expect_request(is_resume) as resumed:
                    line.end()
                assert position(resumed.value) == 1 + len(shown)
                expect(lined.replies.last).to_have_attribute("data-status", "streaming")
                gate.open()
            lined.expect_end()

        assert lined.reply().text_content() == script.text

    def test_a_stop_that_does_not_get_through_can_be_made_again(self, lined, line, provider):
        """The text, with a link defined at its end, goes on where it was frozen."""
        text = "[rain][1]\n\n[1]: https://example.org/\n\nOne\n\nTwo\n\nThr"
        script, gates = gated(text, "ee\n\nFour", " and five")
        provider.script(script)
        page = lined.page
        with held(*gates):
            lined.say("Hi")
            expect(lined.reply()).to_contain_text("Thr")
            page.route("**/stop", lambda route: route.abort())
            lined.stop.click()
            expect(lined.error).to_contain_text("You are offline.")
            gates[0].open()
            expect(lined.reply().get_by_role("paragraph")).to_have_text(["rain", "One", "Two", "Three", "Four"])
            page.unroute("**/stop")
            lined.stop.click()
            lined.expect_end("stopped")

        assert the_reply().text == text + "ee\n\nFour"


@pytest.mark.parametrize("holds_headers", [False, True], ids=["body", "headers"])
class TestBuffers:
    """A proxy holds the stream back until it ends; the page asks for what there is."""

    @pytest.fixture
    def lined(self, chromium, site, user, holds_headers):
        with BufferingLine(site, holds_headers=holds_headers) as line, chat_at(chromium, line, user) as chat:
            yield chat

    def expect_growth(self, chat: ChatPage, gates: list[Gate], shown: list[str]) -> None:
        """Wait for what the provider has sent, each time after a question of the page's."""
        with chat.page.expect_response(lambda response: "client_id=" in response.url and response.ok):
            chat.page.clock.fast_forward(PATIENCE_MILLISECONDS)
        for gate, text in zip(gates, shown, strict=True):
            wait_until(lambda text=text: _written() == text)
            chat.page.clock.fast_forward(PERIOD_MILLISECONDS)
            expect(chat.reply()).to_have_text(text)
            gate.open()

    def test_a_reply_is_shown_as_it_grows(self, lined, provider):
        """In a new conversation, then in it, then once more: all three are found by their client_id."""
        shown = ["One", "One two"]
        for act in (
            lambda: lined.say("Hi"),
            lambda: lined.say("And now?"),
            lined.button("Regenerate").last.click,
        ):
            script, gates = gated("One", " two", " three")
            provider.script(script)
            with held(*gates):
                before = len(provider.calls)
                act()
                provider.wait_for_call(before + 1)
                self.expect_growth(lined, gates, shown)
                lined.expect_end()
            assert lined.reply().text_content() == script.text

        assert len(provider.calls) == 3
        assert Message.objects.filter(role="user").count() == 2
        assert {message.text for message in Message.objects.filter(role="assistant")} == {"One two three"}
        expect(lined.page.get_by_role("heading", level=1)).to_have_text("Hi")

    def test_a_stop_saves_what_was_shown(self, lined, provider):
        script, gates = gated("Shown", ", not shown", ", end")
        provider.script(script)
        with held(*gates):
            lined.say("Hi")
            provider.wait_for_call()
            with lined.page.expect_response(lambda response: "client_id=" in response.url and response.ok):
                lined.page.clock.fast_forward(PATIENCE_MILLISECONDS)
            expect(lined.reply()).to_have_text("Shown")
            gates[0].open()
            wait_until(lambda: _written() == "Shown, not shown")
            lined.stop.click()
            lined.expect_end("stopped")

            assert lined.reply().text_content() == the_reply().text
            assert the_reply().text.startswith("Shown")

    def test_a_stop_before_anything_was_shown_saves_nothing(self, lined, provider):
        """The page learns by polling which reply to stop; the text that it learns as well was not shown."""
        script, gates = gated("Not shown", ", end")
        provider.script(script)
        stops = []
        with held(*gates):
            lined.say("Hi")
            provider.wait_for_call()
            wait_until(lambda: _written() == "Not shown")
            lined.page.route("**/stop", lambda route: stops.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
            lined.stop.click()
            lined.page.clock.fast_forward(PATIENCE_MILLISECONDS)
            wait_in(lined.page, lambda: stops)

            assert lined.reply().text_content() == ""

            stops[0].continue_()
            lined.expect_end("stopped")

            assert lined.reply().text_content() == ""
            assert the_reply().text == ""


class TestSessions:
    @pytest.fixture(params=["cookie", "session"])
    def rooted(self, request, provider, user) -> Iterator[str]:
        """Return the root of a site that keeps the token's secret there."""
        if request.param == "cookie":
            yield request.getfixturevalue("site")
            return
        with Server(**environment(provider, CSRF_USE_SESSIONS="1")) as server:
            yield server.root

    def test_a_token_that_expired_costs_nothing(self, chromium, rooted, user, provider):
        """A login in another tab has changed the secret behind it."""
        with watched(chromium, base_url=rooted) as context:
            sign_in(context, rooted, user)
            chat = ChatPage(context.new_page()).open()
            sends = []
            chat.page.on("response", lambda it: it.request.method == "POST" and sends.append((it.status, it.request)))
            log_in(context, user)
            chat.say("Hi")
            chat.expect_end()

        assert [status for status, _request in sends] == [403, 200]
        assert sends[0][1].post_data_json == sends[1][1].post_data_json
        assert Message.objects.count() == 2
        assert len(provider.calls) == 1

    def test_a_session_that_ended_keeps_the_text(self, chat, context, user, provider):
        Session.objects.all().delete()
        chat.say("Hi")
        expect(chat.error.get_by_role("link")).to_have_attribute("href", re.compile("/accounts/login/"))
        expect(chat.text).to_have_value("Hi")
        log_in(context, user)
        chat.send_button.click()
        chat.expect_end()

        expect(chat.error).to_be_hidden()
        expect(chat.users).to_have_text("Hi")
        assert Message.objects.count() == 2

    def test_a_session_that_ended_in_mid_reply_hides_nothing_for_good(self, lined, line, user, provider):
        """The reply goes on without the page; whoever comes back after the login sees it."""
        script, (gate,) = gated("Before", " and after")
        provider.script(script)
        page = lined.page
        with held(gate):
            lined.say("Hi")
            expect(lined.reply()).to_have_text("Before")
            Session.objects.all().delete()
            line.cut()
            expect(lined.error.get_by_role("link")).to_be_visible()
            expect(lined.reply()).to_have_text("Before")
            log_in(page.context, user)
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            expect(lined.replies.last).to_have_attribute("data-status", "streaming")
            gate.open()
            lined.expect_end()

        assert lined.reply().text_content() == script.text


class TestTabs:
    def test_two_tabs_grow_together_and_end_together(self, chat, provider, context):
        """One is stopped; both end with the text that is saved."""
        script, gates = gated("One", " two", " three")
        provider.script(script)
        with held(*gates):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
            expect(other.reply()).to_have_text("One")
            gates[0].open()
            for tab in (chat, other):
                expect(tab.reply()).to_have_text("One two")
            other.stop.click()
            for tab in (chat, other):
                tab.expect_end("stopped")
                assert tab.reply().text_content() == the_reply().text == "One two"

    def test_a_reply_that_is_written_again_shows_in_the_other_tab(self, chat, provider, context):
        chat.say("Hi")
        chat.expect_end()
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        expect(other.replies).to_have_count(1)
        script, (gate,) = gated("Another", " one")
        provider.script(script)
        with held(gate):
            chat.button("Regenerate").click()
            for tab in (chat, other):
                expect(tab.reply()).to_have_text("Another")
            gate.open()
            for tab in (chat, other):
                tab.expect_end()
                assert tab.reply().text_content() == script.text


PIECES = [
    "Grüße ",
    "🎈",
    "👩‍👩‍👧",
    "**fett",
    "**",
    "\n\n- ",
    "`co",
    "de`",
    "\n",
    "🇺🇦 ",
    "e\u0301",
    "\n\n```js\n",
    "x = 1;\n",
    "```\n\n",
    "| a | b |\n|---|---|\n",
]
# Presses Escape, and returns what the reader sees from the next frame on.
PRESS = """async () => {
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    await new Promise(requestAnimationFrame);
    return [...document.querySelectorAll(".sc-reply [data-part=text]")].at(-1).textContent;
}"""


class TestStops:
    def test_what_is_saved_is_what_was_shown(self, chat, provider, context):
        """20 stops at any time; the provider goes on between the press and the server's answer."""
        chance = random.Random(20)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        shown, copied = [], []
        for number in range(20):
            deltas = chance.choices(PIECES, k=chance.randint(1, 30))
            shown.append(self.stop(chat, provider, number, deltas, chance.randint(1, len(deltas))))
            copied.append(self.copy(chat))
        rendered = [chat.reply(number).text_content() for number in range(20)]
        saved = [message.text for message in Message.objects.filter(role="assistant").order_by("created_at")]
        fresh = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        fresh.button("Show earlier messages").click()
        expect(fresh.replies).to_have_count(20)

        assert shown == rendered
        assert copied == saved
        expect(fresh.page.locator(".sc-raw")).to_have_count(0)
        assert [fresh.reply(number).text_content() for number in range(20)] == rendered
        assert len(set(saved)) > 10

    def stop(self, chat: ChatPage, provider: ProviderServer, number: int, deltas: list[str], enough: int) -> str:
        """Stop a reply once the provider has written so many deltas of it; return what was shown at the press."""
        late, rest = Gate(), Gate()
        gates = {len(deltas): late, len(deltas) + 1: rest}
        provider.script(Script([*deltas, "late 🎈", " never"], gates=gates, pause=0.002))

        def stop_late(route: Route) -> None:
            late.open()
            rest.wait_reached()
            route.continue_()

        chat.page.route("**/stop", stop_late, times=1)
        with held(late, rest):
            chat.say(f"Number {number}")
            expect(chat.replies).to_have_count(number + 1)
            call = provider.wait_for_call(number + 1)
            provider.wait_for(lambda: len(call.deltas) >= enough)
            if number % 5:
                expect(chat.replies.last.locator("[data-part=waiting]")).to_be_hidden()
            shown = chat.page.evaluate(PRESS)
            chat.expect_end("stopped")
        return shown

    def copy(self, chat: ChatPage) -> str:
        """Return what the last reply's button copies; there is none where there is nothing to copy."""
        button = chat.replies.last.locator("[data-part=copy]")
        if button.is_hidden():
            return ""
        button.click()
        expect(button).to_have_attribute("data-done", "")
        return chat.page.evaluate("navigator.clipboard.readText()")

    def test_a_stop_before_the_first_word_keeps_an_empty_reply(self, chat, provider):
        gate = Gate()
        provider.script(Script(["Late"], gates={0: gate}))
        with held(gate):
            chat.say("Hi")
            gate.wait_reached()
            chat.stop.click()
            chat.expect_end("stopped")

        assert the_reply().text == ""
        expect(chat.reply()).to_have_text("")


class TestDrafts:
    @pytest.mark.parametrize("has_arrived", [False, True], ids=["lost", "arrived"])
    def test_a_draft_survives_a_reload_until_the_reply_begins(self, page, user, site, provider, has_arrived):
        """The answer never came: text, model and client_id are as they were sent, and make one message."""
        conversation = make_conversation(user, model="loopback:small")
        make_reply(conversation, "Before")
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        chat.choose_model("Large")
        chat.effort.select_option("high")
        sends = []

        def lose(route: Route) -> None:
            if route.request.method != "POST":
                return route.continue_()
            sends.append(route.request.post_data_json)
            if len(sends) > 1:
                return route.continue_()
            return route.fetch() if has_arrived else None

        page.route("**/messages", lose)
        chat.say("Hi")
        wait_in(page, lambda: provider.calls if has_arrived else sends)
        chat.reload()
        expect(chat.replies).to_have_count(2 if has_arrived else 1)
        expect(chat.text).to_have_value("Hi")
        expect(chat.model).to_have_accessible_name("Model Large")
        expect(chat.effort).to_have_value("high")
        chat.send_button.click()
        expect(chat.replies).to_have_count(2)
        chat.expect_end()
        expect(chat.users).to_have_text(["Will it rain?", "Hi"])
        chat.reload()

        expect(chat.text).to_have_value("")
        assert sends[0] == sends[1]
        assert (sends[0]["model"], sends[0]["effort"]) == ("loopback:large", "high")
        assert Message.objects.filter(role="user", text="Hi").count() == 1
        assert len(provider.calls) == 1

    def test_a_send_whose_answer_was_lost_twice_is_one_message(self, chat, provider):
        lost = []

        def lose(route: Route) -> None:
            if len(lost) == 2:
                return route.continue_()
            lost.append(route.fetch().ok)
            return route.abort()

        chat.page.route("**/api/messages", lose)
        chat.say("Hi")
        chat.expect_end()

        assert lost == [True, True]
        expect(chat.users).to_have_text("Hi")
        assert Message.objects.count() == 2
        assert len(provider.calls) == 1

    def test_what_is_typed_while_a_message_is_on_its_way_stays(self, lined, line, provider):
        line.stall()
        lined.say("First")
        lined.text.fill("Second")
        line.flow()
        lined.expect_end()
        lined.reload()

        expect(lined.users).to_have_text("First")
        expect(lined.text).to_have_value("Second")
        lined.button("New chat").or_(lined.page.get_by_role("link", name="New chat")).first.click()
        expect(lined.text).to_have_value("")

    def test_a_limit_makes_the_button_wait(self, lined, provider):
        """429 with Retry-After; the text is kept, also over a reload."""
        page = lined.page
        refuse(page, 429, "too_many_replies", seconds=60)
        lined.say("Hi")
        expect(lined.button("Try again")).to_be_disabled()
        expect(lined.text).to_have_value("Hi")
        page.clock.fast_forward(61_000)
        expect(lined.button("Try again")).to_be_enabled()
        lined.reload()
        expect(lined.text).to_have_value("Hi")
        lined.send_button.click()
        lined.expect_end()

        assert Message.objects.count() == 2

    def test_a_server_that_is_away_is_asked_when_it_said(self, lined, provider):
        """503 with Retry-After; the page waits so long by itself, and gives the text back to whoever stops it."""
        page = lined.page
        refuse(page, 503, "draining", seconds=60)
        lined.say("Hi")
        expect(lined.status).to_have_text("Refused.")
        lined.stop.click()
        expect(lined.text).to_have_value("Hi")
        expect(lined.users).to_have_count(0)
        refuse(page, 503, "draining", seconds=60)
        lined.send_button.click()
        expect(lined.status).to_have_text("Refused.")
        sends = []
        page.on("request", lambda request: request.method == "POST" and sends.append(request))
        page.clock.fast_forward(55_000)
        assert sends == []
        page.clock.fast_forward(20_000)
        lined.expect_end()

        assert len(sends) == 1
        assert Message.objects.count() == 2


class TestLeaving:
    def test_another_conversation_is_shown_and_the_first_again(self, chat, provider, user):
        make_reply(make_conversation(user, title="Rain"), "It will rain.")
        chat.reload()
        script, gates = gated("One", " two", " three")
        provider.script(script)
        page = chat.page
        with held(*gates):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            with page.expect_event("requestfailed", is_stream):
                page.locator(".sc-conversation", has_text="Rain").click()
            expect(chat.reply()).to_have_text("It will rain.")
            expect(chat.stop).to_be_hidden()
            gates[0].open()
            wait_until(lambda: _written() == "One two")
            expect(chat.replies).to_have_count(1)
            page.locator(".sc-conversation", has_text="Hi").click()
            expect(chat.reply()).to_have_text("One two")
            gates[1].open()
            chat.expect_end()

        assert chat.reply().text_content() == script.text
        assert len(provider.calls) == 1

    def test_a_stop_that_is_answered_later_is_reported_for_its_own_conversation(self, chat, provider):
        """The site hears of the ending by an event, when another conversation is in view already."""
        script, (gate,) = gated("One", " two")
        provider.script(script)
        page = chat.page
        stops = []
        page.evaluate(NOTE_ENDINGS)
        page.route("**/stop", lambda route: stops.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            conversation = chat.conversation_id
            chat.stop.click()
            wait_in(page, lambda: stops)
            page.get_by_role("link", name="New chat").click()
            expect(chat.replies).to_have_count(0)
            stops[0].continue_()
            page.wait_for_function("() => window.endings.length")

        [ending] = page.evaluate("window.endings")
        assert (ending["conversation"], ending["status"]) == (conversation, "stopped")

    def test_an_element_that_is_taken_away_leaves_no_stream(self, chat, provider):
        script, (gate,) = gated("One", " two")
        provider.script(script)
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            with chat.page.expect_event("requestfailed", is_stream):
                chat.page.evaluate("document.querySelector('streaming-chat').remove()")

    def test_an_element_that_is_moved_follows_again(self, chat, provider):
        script, (gate,) = gated("One", " two")
        provider.script(script)
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            with chat.page.expect_request(is_resume):
                chat.page.evaluate(
                    "document.body.append(Object.assign(document.querySelector('streaming-chat'), { hidden: false }))"
                )
            expect(chat.reply()).to_have_text("One")
            gate.open()
            chat.expect_end()

        assert chat.reply().text_content() == script.text

    def test_a_message_that_is_sent_while_the_conversation_loads_waits_for_it(self, chat, provider):
        provider.script(Script(["One"]), Script(["Two"]))
        chat.say("Hi")
        chat.expect_end()
        page = chat.page
        answers = []
        page.route(f"**/api/conversations/{chat.conversation_id}*", lambda route: answers.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
        chat.reload()
        wait_in(page, lambda: answers)
        chat.say("And then?")
        expect(chat.text).to_have_value("And then?")
        answers[0].continue_()
        expect(chat.reply()).to_have_text("Two")

        expect(chat.users).to_have_text(["Hi", "And then?"])
        expect(chat.text).to_have_value("")

    def test_a_conversation_that_comes_after_its_element_is_gone_is_not_followed(self, chat, provider):
        script, (gate,) = gated("One", " two")
        provider.script(script)
        page = chat.page
        streams, answers = [], []
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            page.route(f"**/api/conversations/{chat.conversation_id}*", lambda route: answers.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
            chat.reload()
            wait_in(page, lambda: answers)
            page.on("request", lambda request: is_stream(request) and streams.append(request))
            page.evaluate("document.querySelector('streaming-chat').remove()")
            with page.expect_event("requestfinished"):
                answers[0].continue_()
            page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")

        assert streams == []


def refuse(page: Page, status: int, code: str, *, seconds: int) -> None:
    """Have the next send answered so, as an app would that is asked to come again after so many seconds."""
    body = json.dumps({"error": {"code": code, "message": "Refused.", "retryable": True}})
    headers = {"Retry-After": str(seconds), "Content-Type": "application/json"}
    page.route("**/api/messages", lambda route: route.fulfill(status=status, body=body, headers=headers), times=1)


def stop_clock(page: Page) -> None:
    """Let no timer of the page's end by itself from now on."""
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 0.5)


def wait_in(page: Page, condition) -> None:
    """Wait until this is true of what the page's handlers note, which they do while Playwright is called."""
    wait_until(lambda: condition() or page.evaluate("() => false"))


def _written() -> str:
    """Return the text of the live reply that is saved so far."""
    live = LiveReply.objects.first()
    events = ReplyEvent.objects.filter(message_id=live.message_id) if live else ReplyEvent.objects.none()
    return "".join(event.payload for event in events.order_by("position") if event.kind == "text")
