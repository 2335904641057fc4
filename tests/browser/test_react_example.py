"""The pages of docs/examples/react/, in Chromium, and one with @assistant-ui/react-data-stream."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Conversation, Message
from tests.provider_server import Gate, ProviderServer, Script
from tests.servers import held

from .bundles import ROOT, bundle
from .node import CLIENTS, print_versions

EXAMPLE = ROOT / "docs" / "examples" / "react"
HTML = '<!doctype html><title>Example</title><div id="chat"></div><script type="module" src="/example.js"></script>'


def opened(page: Page, site: str, source: Path) -> Page:
    """Return a page of the site with the chat of this source."""
    script = bundle(source)
    page.route("**/example.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.route("**/example/**", lambda route: route.fulfill(body=HTML, content_type="text/html"))
    page.goto(f"{site}/example/")
    return page


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


@pytest.mark.parametrize("name", ["use-chat.jsx", "assistant-ui.jsx"])
def test_it_streams_and_shows_the_chat_again(page: Page, site: str, provider: ProviderServer, name: str) -> None:
    print_versions("@ai-sdk/react", "@assistant-ui/ai-sdk", "@assistant-ui/react", "react")
    gate = Gate()
    provider.script(Script(["Hel", "lo"], reasoning=["Hm"], gates={1: gate}), Script(["Second"]))
    example = opened(page, site, EXAMPLE / name)
    with held(gate):
        send(example, "One")
        expect(example.get_by_text("Hel", exact=True)).to_be_visible()
        expect(example).to_have_url(f"{site}/example/?chat={Conversation.objects.get().chat_id}")
        example.reload()
        expect(example.get_by_text("Hel", exact=True)).to_be_visible()
        gate.open()
        expect(example.get_by_text("Hello", exact=True)).to_be_visible()
    send(example, "Two")
    expect(example.get_by_text("Second")).to_be_visible()
    example.reload()
    for text in ("One", "Hello", "Two", "Second"):
        expect(example.get_by_text(text, exact=True)).to_be_visible()

    assert Conversation.objects.count() == 1
    assert Message.objects.get(text="Second").parent.text == "Two"


def test_react_data_stream(page: Page, site: str, provider: ProviderServer) -> None:
    print_versions("@assistant-ui/react-data-stream")
    provider.script(Script(["Hel", "lo"], reasoning=["Hm"]), Script(["Second"]))
    chat = opened(page, site, CLIENTS / "data_stream.jsx")
    send(chat, "One")
    expect(chat.get_by_text("Hello", exact=True)).to_be_visible()
    send(chat, "Two")
    expect(chat.get_by_text("Second")).to_be_visible()

    assert Conversation.objects.get().chat_id == "data-stream"
    assert Message.objects.get(text="Second").depth == 3
