"""What a reply cites: numbered below it, linked only where that is safe, live, after a reload and without JavaScript."""

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Conversation
from streaming_chat.providers.demo import SOURCES as SCRIPTED
from tests.factories import make_conversation, make_reply

from .axe import violations
from .chat import ChatPage

WEB = {"url": "https://e.example/rain", "title": "Rain", "id": "", "text": "It rains often.", "origin": "provider"}
SCRIPT = {"url": "javascript:alert(1)", "title": "Script", "id": "", "text": "", "origin": "provider"}
SITE = {"url": "/articles/7", "title": "مطر", "id": "7", "text": "", "origin": "context"}
ELSEWHERE = {"url": "//e.example", "title": "Elsewhere", "id": "", "text": "", "origin": "context"}
UNNAMED = {"url": "https://e.example/unnamed", "title": "", "id": "", "text": "", "origin": "provider"}
SOURCES = [WEB, SCRIPT, WEB | {"text": "Again."}, SITE, ELSEWHERE, UNNAMED]
TITLES = ["Rain", "Script", "مطر", "Elsewhere", "https://e.example/unnamed"]
ADDRESSES = ["https://e.example/rain", None, "/articles/7", None, "https://e.example/unnamed"]
REL = "noopener noreferrer nofollow"


@pytest.fixture
def conversation(user) -> Conversation:
    conversation = make_conversation(user)
    parts = [{"kind": "text", "text": "Yes."}, *({"kind": "source", **source} for source in SOURCES)]
    make_reply(conversation, parts=parts)
    return conversation


def expect_sources(page: Page) -> None:
    """See that the list is numbered without repetitions, and which of its titles are links."""
    rows = page.get_by_role("list", name="Sources").get_by_role("listitem")
    expect(rows).to_have_count(len(TITLES))
    for number, (title, address) in enumerate(zip(TITLES, ADDRESSES, strict=True), 1):
        row = rows.nth(number - 1)
        expect(row).to_contain_text(f"[{number}]")
        expect(row.locator("bdi")).to_have_text(title)
        links = row.get_by_role("link")
        expect(links).to_have_count(1 if address else 0)
        if address:
            expect(links).to_have_attribute("href", address)
            expect(links).to_have_attribute("rel", REL)


class TestSources:
    def test_a_saved_reply(self, page, site, conversation):
        chat = ChatPage(page).open(f"c/{conversation.pk}")

        expect_sources(chat.page)
        expect(page.locator(".sc-sources q")).to_have_text(["It rains often."])
        assert violations(page) == []

    def test_the_plain_page(self, page, site, conversation):
        page.goto(f"/chat/c/{conversation.pk}?view=plain")

        expect_sources(page)
        assert violations(page) == []

    def test_a_reply_that_is_being_written(self, page, user, site):
        """The same while it is live and after a reload, and none of it in the next reply."""
        chat = ChatPage(page).open()
        chat.choose_model("demo:librarian")
        chat.say("Hi")
        chat.expect_end()
        titles = page.locator(".sc-sources bdi")
        expect(titles).to_have_text([source["title"] for source in SCRIPTED])
        chat.reload()
        expect(titles).to_have_count(3)
        chat.say("Some code, please")
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        expect(page.locator(".sc-sources:visible")).to_have_count(1)

    def test_a_reply_without_any(self, page, user, site):
        conversation = make_conversation(user)
        make_reply(conversation)
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.replies).to_have_count(1)

        expect(page.locator(".sc-sources")).to_be_hidden()
