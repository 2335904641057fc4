"""What an empty chat suggests to ask."""

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Message

from .chat import ChatPage
from .conftest import sign_in, watched


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


class TestSuggestions:
    def test_a_click_sends_it(self, chat, provider):
        chat.text.fill("Typed")
        chat.button("Will it rain?").click()
        chat.expect_end()

        expect(chat.users).to_have_text(["Will it rain?"])
        expect(chat.text).to_have_value("Typed")
        expect(chat.text).to_be_focused()
        expect(chat.button("Will it rain?")).to_be_hidden()
        assert provider.calls[0].body["messages"][-1]["content"] == "Will it rain?"

    def test_one_that_is_to_be_completed_is_filled_in(self, chat, provider):
        chat.press(chat.button("Translate…"), by="Shift+Tab")
        expect(chat.text).to_be_focused()
        chat.page.keyboard.type("rain")
        expect(chat.text).to_have_value("Translate into German: rain")
        chat.page.keyboard.press("Enter")
        chat.expect_end()

        expect(chat.users).to_have_text(["Translate into German: rain"])

    def test_one_that_is_refused_is_in_the_composer(self, chat):
        body = {"error": {"code": "too_many_replies", "message": "Too many replies.", "retryable": True}}
        chat.page.route("**/api/messages", lambda route: route.fulfill(status=429, json=body))
        chat.button("Will it rain?").click()
        expect(chat.error).to_be_visible()

        expect(chat.text).to_have_value("Will it rain?")
        assert not Message.objects.exists()

    def test_a_new_chat_has_them_again(self, chat, provider):
        chat.button("Will it rain?").click()
        chat.expect_end()
        chat.page.get_by_role("link", name="New chat").click()

        expect(chat.page.get_by_role("list", name="Suggestions").get_by_role("button")).to_have_count(2)

    def test_without_a_script_there_are_none(self, chromium, site, user):
        with watched(chromium, base_url=site, java_script_enabled=False) as context:
            sign_in(context, site, user)
            page = context.new_page()
            page.goto("/chat/")

            expect(page.get_by_text("Will it rain?")).to_be_hidden()
