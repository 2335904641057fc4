"""docs/examples/htmx/: htmx 2 and 4 in Chromium show a reply while it is written, as text, and its Markdown at the end."""

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Message
from tests.hostile import HOSTILE
from tests.provider_server import Gate, Script

from .test_event_source import send


@pytest.mark.parametrize("version", [2, 4])
class TestHtmx:
    def test_text_while_it_is_written(self, page: Page, provider, version: int):
        """White space is kept, also where it stands alone; nothing is markup."""
        gate = Gate()
        script = Script(["Hello", " ", "\n", "\n\n  ", "wörld", "\r\n", "<b>bold</b>", " ", "."], gates={9: gate})
        provider.script(script)
        page.goto(f"/examples/htmx/{version}/")
        send(page)
        text = page.locator(".text")
        page.wait_for_function(
            "text => document.querySelector('.text')?.textContent === text", arg=script.text, timeout=15_000
        )

        loaded = page.evaluate("htmx.version")
        print("htmx", loaded)  # noqa: T201  (for -s)

        assert loaded.startswith(f"{version}.")
        assert text.locator("b").count() == 0
        gate.open()
        expect(text).to_have_count(0)

    def test_markdown_at_the_end_and_one_request(self, page: Page, provider, version: int):
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        provider.script(Script(["**Hel", "lo**", " <img src=x onerror=alert(1)>"]))
        page.goto(f"/examples/htmx/{version}/")
        send(page)
        expect(page.locator("article strong")).to_have_text("Hello")
        page.wait_for_load_state("networkidle")

        assert page.locator("article img").count() == 0
        assert len([url for url in asked if "/events?format=html" in url]) == 1
        assert Message.objects.get(role="assistant").status == "completed"

    def test_hostile_texts(self, page: Page, provider, version: int):
        gate = Gate()
        text = "\n".join(HOSTILE.values())
        provider.script(Script([text[: len(text) // 2], text[len(text) // 2 :]], gates={2: gate}))
        page.goto(f"/examples/htmx/{version}/")
        send(page)
        page.wait_for_function(
            "text => document.querySelector('.text')?.textContent === text", arg=text, timeout=15_000
        )

        assert page.evaluate("[...new Set([...document.querySelectorAll('.text *')].map((e) => e.tagName))]") == [
            "SPAN"
        ]
        gate.open()

    def test_an_error(self, page: Page, provider, version: int):
        provider.script(Script(["Hel", "lo"], fault="cut", after=1))
        page.goto(f"/examples/htmx/{version}/")
        send(page)
        expect(page.locator("article [role=status]")).to_contain_text("connection to the model was lost")
