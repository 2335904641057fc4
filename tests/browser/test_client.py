"""client.js in a page of another origin: docs/examples/other-origin/ with the CORS recipes of docs/client.md."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streaming_chat.models import Message
from tests.database import database_url
from tests.factories import make_token
from tests.nginx import make_certificate
from tests.provider_server import Gate, ProviderServer, Script
from tests.servers import held

from .bundles import ROOT
from .chromium import CHROMIUM_ARGS, chromium_path
from .conftest import sign_in, watched
from .line import Line
from .server import Server

EXAMPLE = ROOT / "docs" / "examples" / "other-origin"
CLIENT = ROOT / "streaming_chat" / "static" / "streaming_chat" / "client.js"
ROOT_IN_EXAMPLE = '"https://chat.example.com/chat/"'
DELTAS = ["Grüße ", "🎈", "👩‍👩‍👧", " und", " Schluss"]
# The first blocks of Python in docs/client.md.
TOKENS, COOKIES, COOKIES_OF_ANOTHER_SITE = 1, 2, 3
IMPORT = """async (root) => {
    const { ChatClient } = await import("./client.js");
    window.chat = new ChatClient(root);
}"""


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[int]:
    """Serve the example from an origin of its own, with the client beside it; yields the port."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    shutil.copy(CLIENT, tmp_path)
    handler = partial(_QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def serve(files: int, tmp_path: Path, provider: ProviderServer, user) -> Iterator[Callable[[str, int], contextmanager]]:
    """Return what serves the API to the pages of an origin, by the first recipes, at the end of a line."""

    @contextmanager
    def serve_to(host: str, recipes: int, token: str = "", **tls: str) -> Iterator[tuple[str, Line]]:
        origin = f"http://{host}:{files}"
        settings = {"DJANGO_SETTINGS_MODULE": "tests.browser.other_origin", "ORIGIN": origin, "RECIPES": str(recipes)}
        beats = {"STREAMING_CHAT_HEARTBEAT_SECONDS": "0.25"}
        urls = {"DATABASE_URL": database_url(), "PROVIDER_URL": provider.openai_url}
        with Server(**settings, **beats, **urls, **tls) as server, Line(server.root) as line:
            if tls:
                line.url = line.url.replace("http:", "https:")
            page = tmp_path / "index.html"
            data = f'"{line.url}/chat/"' + (f' data-token="{token}"' if token else "")
            page.write_text(page.read_text().replace(ROOT_IN_EXAMPLE, data))
            yield origin, line

    return serve_to


class Example:
    """The example's page as a person handles it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.output = page.locator("pre")
        self.status = page.get_by_role("status")
        self.stop = page.get_by_role("button", name="Stop")

    def say(self, text: str) -> None:
        self.page.get_by_label("Message").fill(text)
        self.page.get_by_label("Message").press("Enter")

    def read_over_cuts(self, line: Line, provider: ProviderServer) -> None:
        """Send a message, and cut the line after each delta. Positions count code points, which JavaScript does not."""
        gates = {number: Gate() for number in range(1, len(DELTAS))}
        provider.script(Script(DELTAS, gates=gates))
        with held(*gates.values()):
            self.say("Hi")
            for number, gate in gates.items():
                text = "".join(DELTAS[:number])
                expect(self.output).to_have_text(text.strip())
                with self.page.expect_request(lambda request: "/events?after=" in request.url) as resumed:
                    line.cut()
                gate.open()
                assert int(resumed.value.url.rpartition("/")[2]) == 1 + len(text)
            expect(self.status).to_have_text("completed")

        assert self.output.text_content() == "".join(DELTAS) == Message.objects.get(role="assistant").text
        assert len(provider.calls) == 1


@contextmanager
def lenient_profile(chromium: Browser, folder: Path) -> Iterator[BrowserContext]:
    """Yield a context that lets other sites have cookies, which the usual ones do not."""
    preferences = folder / "Default" / "Preferences"
    preferences.parent.mkdir(parents=True)
    preferences.write_text(json.dumps({"profile": {"cookie_controls_mode": 0}}))
    context = chromium.browser_type.launch_persistent_context(
        folder, executable_path=chromium_path(), args=CHROMIUM_ARGS, ignore_https_errors=True
    )
    try:
        yield context
    finally:
        context.close()


class TestCookies:
    @pytest.fixture
    def example(self, chromium: Browser, serve, user) -> Iterator[tuple[Example, Line]]:
        with serve("127.0.0.1", COOKIES) as (origin, line), watched(chromium) as context:
            sign_in(context, line.url, user)
            page = context.new_page()
            page.goto(origin)
            yield Example(page), line

    def test_a_reply_survives_a_line_that_is_cut_again_and_again(self, example, provider):
        chat, line = example
        chat.read_over_cuts(line, provider)

    def test_the_next_message_is_of_the_same_conversation(self, example, provider):
        chat, _line = example
        provider.script(Script(["One"]), Script(["Two"]))
        for text in ("One", "Two"):
            chat.say("Hi")
            expect(chat.output).to_have_text(text)
            expect(chat.status).to_have_text("completed")

        assert Message.objects.filter(role="assistant").values("conversation").distinct().count() == 1

    def test_a_stop_saves_what_was_read(self, example, provider):
        chat, _line = example
        gate = Gate()
        provider.script(Script(["One ", "two", " three"], gates={2: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.output).to_have_text("One two")
            chat.stop.click()
            expect(chat.status).to_have_text("stopped")

        assert chat.output.text_content() == Message.objects.get(role="assistant").text == "One two"

    def test_a_reload_follows_the_reply_again(self, example, provider):
        chat, _line = example
        gate = Gate()
        provider.script(Script(["One ", "two"], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.output).to_have_text("One")
            chat.page.reload()
            expect(chat.output).to_have_text("One")
            gate.open()
            expect(chat.status).to_have_text("completed")

        assert chat.output.text_content() == "One two"
        assert len(provider.calls) == 1

    def test_a_page_reads_how_long_to_wait(self, example, provider):
        """Another origin sees Retry-After only if it is exposed."""
        chat, line = example
        gate = Gate()
        provider.script(Script(["One", "two"], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.output).to_have_text("One")
            chat.page.evaluate(IMPORT, f"{line.url}/chat/")
            refused = chat.page.evaluate(
                "() => chat.send('Hi').read().catch(({ code, retryAfter }) => ({ code, retryAfter }))"
            )
            gate.open()
            expect(chat.status).to_have_text("completed")

        assert refused == {"code": "too_many_replies", "retryAfter": 1}

    def test_every_method_of_the_api_is_allowed(self, example, provider):
        chat, line = example
        provider.script(Script(["One"]))
        chat.say("Hi")
        expect(chat.status).to_have_text("completed")
        chat.page.evaluate(IMPORT, f"{line.url}/chat/")
        titles = chat.page.evaluate(
            """async () => {
                const { results: [{ id }] } = await chat.request("GET", "api/conversations");
                const { title } = await chat.request("PATCH", `api/conversations/${id}`, { title: "Rain" });
                const gone = await chat.request("DELETE", `api/conversations/${id}`);
                const { results } = await chat.request("GET", "api/conversations");
                return [title, gone, results];
            }"""
        )

        assert titles == ["Rain", None, []]


class TestTokens:
    def test_a_reply_survives_a_line_that_is_cut_again_and_again(self, chromium, serve, user, provider):
        """From another site; nothing but the token says who the user is."""
        token = make_token(user)
        asked = []
        with serve("localhost", TOKENS, token) as (origin, line), watched(chromium) as context:
            page = context.new_page()
            page.on("request", lambda request: line.url in request.url and asked.append(request.headers))
            page.goto(origin)
            chat = Example(page)
            chat.read_over_cuts(line, provider)
            assert context.cookies() == []

        assert {headers["authorization"] for headers in asked} == {f"Bearer {token}"}
        assert Message.objects.get(role="assistant").conversation.owner == user

    def test_one_that_is_not_valid_is_refused(self, chromium, serve, user):
        with serve("localhost", TOKENS, "sc_wrong") as (origin, _line), watched(chromium) as context:
            page = context.new_page()
            page.goto(origin)
            chat = Example(page)
            chat.say("Hi")
            expect(chat.status).to_have_text(re.compile("token"))

        assert not Message.objects.exists()


class TestCookiesOfAnotherSite:
    """localhost and 127.0.0.1 are two sites."""

    def test_those_that_say_so_are_sent(self, chromium, serve, user, provider, tmp_path):
        make_certificate(tmp_path)
        files = {"KEYFILE": "key.pem", "CERTFILE": "certificate.pem"}
        tls = {f"UVICORN_SSL_{name}": str(tmp_path / file) for name, file in files.items()}
        provider.script(Script(["One"]))
        with (
            serve("localhost", COOKIES_OF_ANOTHER_SITE, **tls) as (origin, line),
            lenient_profile(chromium, tmp_path / "profile") as context,
        ):
            sign_in(context, line.url, user)
            [session] = context.cookies()
            context.add_cookies([{**session, "sameSite": "None", "secure": True}])
            page = context.new_page()
            page.goto(origin)
            chat = Example(page)
            chat.say("Hi")
            expect(chat.status).to_have_text("completed")

            assert chat.output.text_content() == "One"
            assert {cookie["sameSite"] for cookie in context.cookies()} == {"None"}

    def test_other_cookies_are_not_sent(self, chromium, serve, user):
        with serve("localhost", COOKIES) as (origin, line), watched(chromium) as context:
            sign_in(context, line.url, user)
            page = context.new_page()
            page.goto(origin)
            chat = Example(page)
            chat.say("Hi")
            expect(chat.status).to_have_text("Please sign in.")

        assert not Message.objects.exists()
