"""Downloads from the chat page: a conversation from its menu, and everything from the sidebar."""

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.factories import make_conversation, make_reply

from .chat import ChatPage
from .conftest import sign_in, watched
from .test_accessibility import expect_accessible

LANGUAGES = {
    "en": ("Export as Markdown", "Export all chats"),
    "de": ("Als Markdown exportieren", "Alle Chats exportieren"),
    "ar": ("تصدير بصيغة Markdown", "تصدير جميع المحادثات"),
}


@pytest.fixture
def conversation(user):
    conversation = make_conversation(user, title="Rain in Lisbon")
    make_reply(conversation, "Yes, **today**.")
    return conversation


@pytest.fixture
def told(page: Page, conversation) -> ChatPage:
    return ChatPage(page).open(f"c/{conversation.pk}")


def open_menu(chat: ChatPage) -> None:
    chat.press(chat.button("Actions for Rain in Lisbon"), by="Shift+Tab")
    expect(chat.page.get_by_role("menuitem", name="Rename")).to_be_focused()


def downloaded(page: Page, action) -> Path:
    with page.expect_download() as download:
        action()
    return Path(download.value.path()).rename(Path(download.value.path()).with_name(download.value.suggested_filename))


class TestConversation:
    def test_it_is_exported_as_markdown_by_keys(self, told):
        open_menu(told)
        told.page.keyboard.press("ArrowDown")
        expect(told.page.get_by_role("menuitem", name="Export as Markdown")).to_be_focused()
        file = downloaded(told.page, lambda: told.page.keyboard.press("Enter"))

        assert "rain-in-lisbon" in file.name
        assert file.suffix == ".md"
        assert "```text\nYes, **today**.\n```" in file.read_text()
        told.expect_focus_kept()

    def test_it_is_exported_as_json(self, told, conversation):
        open_menu(told)
        file = downloaded(told.page, told.page.get_by_role("menuitem", name="Export as JSON").click)

        assert json.loads(file.read_text())["conversation"]["id"] == str(conversation.pk)


class TestEverything:
    def test_it_is_one_archive(self, told, user):
        make_conversation(user, title="Snow")
        link = told.page.get_by_role("link", name="Export all chats")
        told.reach(link, "Shift+Tab")
        file = downloaded(told.page, lambda: told.page.keyboard.press("Enter"))

        assert len(zipfile.ZipFile(file).namelist()) == 4

    def test_a_user_without_conversations_is_not_offered_it(self, page):
        ChatPage(page).open()

        expect(page.locator("[data-part=search]")).to_be_hidden()
        expect(page.locator("[data-part=export]")).to_be_hidden()

    def test_from_the_page_without_javascript(self, page, conversation):
        page.goto(f"/chat/c/{conversation.pk}?view=plain")

        assert downloaded(page, page.get_by_role("link", name="Export as Markdown").click).suffix == ".md"
        assert downloaded(page, page.get_by_role("link", name="Export all chats").click).suffix == ".zip"
        expect_accessible(page)


class TestLanguages:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_the_menu_and_the_link(self, chromium: Browser, site, user, conversation, language):
        item, link = LANGUAGES[language]
        with watched(chromium, base_url=site, locale=language) as context:
            sign_in(context, site, user)
            chat = ChatPage(context.new_page()).open(f"c/{conversation.pk}")
            expect(chat.page.get_by_role("link", name=link)).to_be_visible()
            chat.page.locator(".sc-row [data-part=actions]").click()
            expect(chat.page.get_by_role("menuitem", name=item)).to_be_visible()
            expect_accessible(chat.page)
