"""What a model, a user or a site's data may hold to do harm: all of it is shown, and nothing of it happens."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import streaming_chat
from streaming_chat.chats.sharing import share
from streaming_chat.models import Conversation, Feedback
from tests.factories import make_conversation, make_message, make_reply
from tests.hostile import HOSTILE
from tests.provider_server import Script

from .chat import ChatPage

MARKUP = json.loads((Path(streaming_chat.__file__).parent / "rendering/allowed_html.json").read_text())
# What is not of the allow-list inside a reply, and elements made from what is text only.
STRAY = """(markup) => {
    const address = new RegExp(`^${markup.address}`, "i");
    const group = ["tabindex", "role", "aria-label"];
    const ours = { a: ["rel", "target"], button: ["class", "type"], div: ["class", ...group], span: ["class"] };
    ours.pre = ["dir", ...group];
    const classes = /^(sc-(code|code-bar|code-language|copy|table|plain|format)|language-\\S+|hljs-[\\w -]+)$/;
    const isStray = (element) => {
        const { localName } = element;
        const known = [...(markup.attributes[localName] ?? []), ...(ours[localName] ?? [])];
        if (element.namespaceURI !== "http://www.w3.org/1999/xhtml") return true;
        if (!(localName in markup.attributes) && !(localName in ours)) return true;
        return [...element.attributes].some(({ name, value }) => !known.includes(name)
            || (name === "href" && !address.test(value)) || (name === "class" && !classes.test(value)));
    };
    const rendered = [...document.querySelectorAll(":is(.sc-prose, .scp-text, .sc-markdown) *")].filter(isStray);
    const calls = ".sc-calls :is(summary > *, p, pre), .scp-aside > summary, .scp-result";
    const texts = `.sc-bubble, .sc-title, .sc-name, ${calls}, option, .scp-title, bdi`;
    // A search marks its words in titles and snippets.
    const found = ":is(.sc-name, .sc-snippet) > mark:not([id], [class], [style], :has(*))";
    const made = [...document.querySelectorAll(`:is(${texts}, .sc-snippet) *:not(${found})`)];
    return [...rendered, ...made].map((element) => element.outerHTML);
}"""


@pytest.fixture
def quiet(page: Page, site: str, user) -> Iterator[Page]:
    """Return a page that may open no dialog, and ask nobody but the site."""
    faults = []
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: request.url.startswith(site) or faults.append(request.url))
    page.on("popup", lambda popup: faults.append(popup.url))
    yield page

    assert faults == []


def expect_harmless(page: Page) -> None:
    assert page.evaluate(STRAY, MARKUP) == []


def pieces(text: str) -> list[str]:
    """Return a text in deltas of three characters."""
    return [text[start : start + 3] for start in range(0, len(text), 3)]


@pytest.fixture
def conversation(user) -> Conversation:
    """Return a conversation in which every text there is, is hostile."""
    conversation = make_conversation(user, title=HOSTILE["image handler"])
    for text in HOSTILE.values():
        make_message(conversation, text)
        call = {"kind": "tool_call", "id": text, "name": text, "arguments": text, "complete": True}
        result = {"kind": "tool_result", "id": text, "status": "ok", "output": text, "ms": 1}
        begin = {"kind": "step", "number": 1}
        parts = [begin, {"kind": "reasoning", "text": text}, {"kind": "text", "text": text}, call, result]
        reply = make_reply(conversation, parts=parts, parent=conversation.head, model=text[:100])
        Feedback.objects.create(message=reply, value=-1, comment=text, owner_key=conversation.owner_key)
    return conversation


def expect_all(page: Page) -> None:
    """Show everything of a conversation, and see that it is harmless."""
    earlier = page.locator(".sc-earlier")
    expect(page.locator(".sc-reply").first).to_be_visible()
    while earlier.is_visible():
        shown = page.locator(".sc-message, .sc-user, .sc-reply").count()
        earlier.click()
        expect(page.locator(".sc-message, .sc-user, .sc-reply")).not_to_have_count(shown)
    expect(page.locator(".sc-reply")).to_have_count(len(HOSTILE))
    page.evaluate("document.querySelectorAll('streaming-chat details').forEach((details) => { details.open = true; })")
    expect(page.locator(".sc-raw")).to_have_count(0)
    page.wait_for_load_state("networkidle")

    assert page.locator(".sc-bubble").all_text_contents() == list(HOSTILE.values())
    expect_harmless(page)


class TestSaved:
    @pytest.mark.parametrize(
        "address", ["/chat/c/{}", "/embedded/box/?conversation={}", "/embedded/corner/?conversation={}"]
    )
    def test_everywhere_a_chat_is(self, quiet, conversation, address):
        quiet.goto(address.format(conversation.pk))
        launcher = quiet.locator("[data-part=launcher]")
        if launcher.count():
            launcher.click()

        expect_all(quiet)

    def test_the_page_of_a_share_link(self, quiet, conversation):
        conversation.refresh_from_db()
        quiet.goto(f"/chat/shared/{share(conversation).token}")

        assert quiet.locator(".scp-text").count() > 0
        expect_harmless(quiet)

    def test_the_plain_page(self, quiet, conversation):
        quiet.goto(f"/chat/c/{conversation.pk}?view=plain")

        assert quiet.locator(".scp-text").count() > 0
        expect_harmless(quiet)

    def test_titles_and_a_search(self, quiet, user):
        for text in HOSTILE.values():
            make_conversation(user, title=text[:200])
        chat = ChatPage(quiet).open()
        expect(quiet.locator(".sc-conversation").first).to_be_visible()
        while chat.button("Show older").is_visible():
            shown = quiet.locator(".sc-conversation").count()
            chat.button("Show older").click()
            expect(quiet.locator(".sc-conversation")).not_to_have_count(shown)
        assert quiet.locator(".sc-name").all_text_contents() == [text[:200] for text in reversed(HOSTILE.values())]
        expect_harmless(quiet)
        link = quiet.locator(".sc-conversation").first
        text = link.locator(".sc-name").text_content()
        link.click()
        expect(quiet.get_by_role("heading", level=1)).to_have_text(text)
        quiet.get_by_label("Search conversations").fill(HOSTILE["image handler"])
        expect(quiet.locator(".sc-conversation")).not_to_have_count(len(HOSTILE))

        expect_harmless(quiet)


class TestWritten:
    def test_each_in_pieces(self, quiet, provider):
        """As text, reasoning, tool call and user's message at once; then the same as it is saved."""
        chat = ChatPage(quiet).open()
        for number, text in enumerate(HOSTILE.values(), 1):
            provider.script(Script(pieces(text), reasoning=pieces(text), tool_calls=[(text, text)]))
            chat.say(text)
            expect(chat.replies).to_have_count(number)
            chat.expect_end()
        expect_all(quiet)
        chat.reload()

        expect_all(quiet)

    def test_names_of_models(self, quiet):
        results = [
            {
                "id": f"loopback:{text}",
                "label": text,
                "description": text,
                "effort": None,
                "efforts": [],
                "default": False,
            }
            for text in HOSTILE.values()
        ]
        quiet.route("**/api/models", lambda route: route.fulfill(json={"results": results}))
        chat = ChatPage(quiet).open()
        chat.model.click()

        expect(quiet.get_by_role("menuitemradio")).to_have_text([text * 2 for text in HOSTILE.values()])
        expect_harmless(quiet)
