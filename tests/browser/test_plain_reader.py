"""The plainest reader there is, and streams behind GZipMiddleware."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import Message
from tests.database import database_url
from tests.provider_server import Gate, Script

from .chat import ChatPage
from .conftest import serve, sign_in, watched


@pytest.fixture(scope="module")
def gzip_site(chromium: Browser, loopback, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        url = database_url()
    with serve(DATABASE_URL=url, PROVIDER_URL=loopback.openai_url, GZIP="1") as root:
        yield root


class TestPlainestReader:
    def test_it_ends_with_the_exact_text(self, page: Page, provider):
        """It knows no event names and no resuming: it appends the text of every line that begins with `data: `."""
        script = Script(["Hello", ", wörld", "!\n\n", "🎈 data: [DONE]\\n"])
        provider.script(script)
        page.goto("/examples/plain_fetch.html")
        page.get_by_label("Message").fill("Hi")
        page.get_by_role("button", name="Send").click()
        expect(page).to_have_title("Done")

        assert page.locator("pre").text_content() == script.text
        assert Message.objects.get(role="assistant").text == script.text


class TestGzip:
    def test_events_come_one_by_one(self, chromium: Browser, gzip_site: str, user, provider):
        """Compressed, Chromium shows one event only (Django 5.2), or all of them at the end (6.0)."""
        gates = {number: Gate() for number in range(1, 5)}
        script = Script(["a", "b", "c", "d", "e"], gates=gates)
        provider.script(script)
        with watched(chromium, base_url=gzip_site) as context:
            sign_in(context, gzip_site, user)
            chat = ChatPage(context.new_page()).open()
            chat.say("Hi")
            for number, gate in gates.items():
                expect(chat.reply()).to_have_text(script.text[:number])
                gate.open()
            chat.expect_end()

            expect(chat.reply()).to_have_text("abcde")
            page = context.request.get("/chat/")
            assert page.headers["content-encoding"] == "gzip"
