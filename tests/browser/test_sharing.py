"""Sharing a conversation from the chat page, and the page that others see."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streaming_chat.chats.sharing import share
from streaming_chat.models import Conversation, ShareLink
from tests.factories import make_conversation, make_reply

from .chat import ChatPage
from .conftest import sign_in, watched
from .test_accessibility import expect_accessible

PARTS = [
    {"kind": "reasoning", "text": "It is autumn."},
    {"kind": "text", "text": "Yes, **today**.\n\n```python\nprint('rain')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"},
    {
        "kind": "source",
        "url": "https://weather.example",
        "title": "Weather",
        "id": "",
        "text": "",
        "origin": "provider",
    },
]


@pytest.fixture
def conversation(user) -> Conversation:
    conversation = make_conversation(user, title="Rain in Lisbon")
    make_reply(conversation, parts=PARTS)
    return conversation


@pytest.fixture
def told(page: Page, conversation) -> ChatPage:
    return ChatPage(page).open(f"c/{conversation.pk}")


@pytest.fixture
def stranger(chromium: Browser, site) -> Iterator[BrowserContext]:
    with watched(chromium, base_url=site) as context:
        yield context


def open_dialog(chat: ChatPage) -> None:
    chat.press(chat.button("Actions for Rain in Lisbon"), by="Shift+Tab")
    item = chat.page.get_by_role("menuitem", name="Share…")
    for _press in range(3):
        chat.page.keyboard.press("ArrowDown")
    expect(item).to_be_focused()
    chat.page.keyboard.press("Enter")
    expect(chat.page.get_by_role("dialog", name="Share this conversation")).to_be_visible()


class TestDialog:
    def test_a_link_is_made_copied_and_revoked_by_keys(self, told, context, stranger):
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        keyboard = told.page.keyboard
        open_dialog(told)
        expect(told.page.get_by_text("This conversation is not shared.")).to_be_visible()
        expect_accessible(told.page)
        told.press(told.button("Create a link"))
        link = told.page.get_by_label("Link", exact=True)
        expect(link).to_be_focused()
        expect(link).to_have_value(re.compile(r"/chat/shared/[\w-]{43}$"))
        expect_accessible(told.page)
        told.press(told.button("Copy link"))
        expect(told.button("Copied")).to_be_visible()
        address = told.page.evaluate("navigator.clipboard.readText()")

        assert address == link.input_value()
        page = stranger.new_page()
        page.goto(address)
        expect(page.get_by_role("heading", name="Rain in Lisbon")).to_be_visible()
        told.press(told.button("Revoke the link"))
        expect(told.page.get_by_text("The link is revoked.")).to_be_visible()
        expect(told.button("Create a link")).to_be_focused()
        page.reload()
        expect(page.get_by_role("heading", name="This link is no longer valid.")).to_be_visible()
        keyboard.press("Escape")
        expect(told.button("Actions for Rain in Lisbon")).to_be_focused()

    def test_a_link_that_was_made_before_is_not_shown_again(self, told, conversation):
        conversation.refresh_from_db()
        share(conversation)
        open_dialog(told)

        expect(told.page.get_by_text("Shared on")).to_be_visible()
        expect(told.page.get_by_label("Link", exact=True)).to_be_hidden()
        expect(told.button("Revoke the link")).to_be_visible()

    def test_an_error_is_shown_in_front_of_nothing(self, told, conversation):
        open_dialog(told)
        Conversation.objects.filter(pk=conversation.pk).update(deleted_at=conversation.created_at)
        told.button("Create a link").click()

        expect(told.error).to_be_visible()
        expect(told.page.get_by_role("dialog", name="Share this conversation")).to_be_hidden()
        assert not ShareLink.objects.exists()

    @pytest.mark.parametrize("words", [("de", "Teilen …", "Link erstellen"), ("ar", "مشاركة…", "إنشاء رابط")])
    def test_in_another_language(self, chromium: Browser, site, user, conversation, words):
        language, item, button = words
        with watched(chromium, base_url=site, locale=language) as context:
            sign_in(context, site, user)
            chat = ChatPage(context.new_page()).open(f"c/{conversation.pk}")
            chat.page.locator(".sc-row [data-part=actions]").click()
            chat.page.get_by_role("menuitem", name=item).click()
            chat.button(button).click()
            expect(chat.page.locator("[data-part=share-link]")).to_have_value(re.compile("/chat/shared/"))

            expect_accessible(chat.page)


class TestSharedPage:
    def test_a_stranger_reads_it(self, conversation, stranger):
        conversation.refresh_from_db()
        page = stranger.new_page()
        page.goto(f"/chat/shared/{share(conversation).token}")

        expect(page.get_by_text("Will it rain?")).to_be_visible()
        expect(page.locator("strong", has_text="today")).to_be_visible()
        expect(page.locator("table")).to_be_visible()
        page.get_by_text("Reasoning").click()
        expect(page.get_by_text("It is autumn.")).to_be_visible()
        expect(page.get_by_role("link", name="Weather")).to_be_visible()
        assert "ana" not in page.locator("main").inner_text()
        expect_accessible(page)

    def test_the_page_of_a_link_that_is_gone(self, stranger):
        page = stranger.new_page()
        page.goto("/chat/shared/unknown")

        expect(page.get_by_role("heading", name="This link is no longer valid.")).to_be_visible()
        expect_accessible(page)

    def test_a_link_on_it_does_not_tell_its_address(self, conversation, stranger):
        """Not even to this site."""
        conversation.refresh_from_db()
        page = stranger.new_page()
        page.goto(f"/chat/shared/{share(conversation).token}")
        with page.expect_request("**/chat/health") as request:
            page.evaluate("location.href = '/chat/health'")

        assert "referer" not in request.value.headers

    def test_right_to_left(self, chromium: Browser, site, conversation):
        conversation.refresh_from_db()
        with watched(chromium, base_url=site, locale="ar") as context:
            page = context.new_page()
            page.goto(f"/chat/shared/{share(conversation).token}")

            expect(page.locator("html")).to_have_attribute("dir", "rtl")
            expect_accessible(page)
