"""The choice of a model and of its effort, by the pointer and by the keyboard, and what is sent and remembered of it."""

import pytest
from playwright.sync_api import Locator, Page, expect

from streaming_chat.models import Conversation, Message
from tests.factories import make_conversation, make_reply
from tests.provider_server import Script

from .axe import violations
from .chat import ChatPage

MODELS = ["Small\nFor everyday questions.", "Large", "demo:librarian"]


@pytest.fixture
def chat(page, user, site, provider) -> ChatPage:
    return ChatPage(page).open()


@pytest.fixture
def conversation(user) -> Conversation:
    conversation = make_conversation(user, model="loopback:small")
    make_reply(conversation, model="loopback:small")
    return conversation


def items(page: Page) -> Locator:
    return page.get_by_role("menuitemradio")


def another_model(chat: ChatPage) -> Locator:
    return chat.button("Regenerate with another model")


def expect_model(chat: ChatPage, label: str) -> None:
    expect(chat.page.locator("[data-part=model-name]")).to_have_text(label)


class TestModelMenu:
    def test_it_names_and_describes_the_models(self, chat):
        chat.model.click()

        expect(items(chat.page)).to_have_text(MODELS, use_inner_text=True)
        expect(chat.page.get_by_role("menuitemradio", checked=True)).to_have_text(MODELS[0], use_inner_text=True)
        expect(chat.model).to_have_attribute("aria-expanded", "true")
        assert violations(chat.page) == []

    def test_a_second_press_closes_it(self, chat):
        chat.model.click()
        expect(items(chat.page)).to_have_count(3)
        chat.model.click()

        expect(chat.page.locator("[data-part=model-menu]")).to_be_hidden()

    def test_by_the_keyboard(self, chat, provider):
        chat.press(chat.model, by="Shift+Tab")
        expect(items(chat.page).nth(0)).to_be_focused()
        chat.page.keyboard.press("ArrowDown")
        expect(items(chat.page).nth(1)).to_be_focused()
        chat.page.keyboard.press("Enter")
        expect_model(chat, "Large")
        expect(chat.model).to_be_focused()
        chat.press(chat.model)
        expect(items(chat.page).nth(1)).to_be_focused()
        chat.page.keyboard.press("Escape")

        expect(chat.model).to_be_focused()
        expect_model(chat, "Large")

    def test_the_message_is_sent_to_the_chosen_model(self, chat, provider):
        provider.script(Script(["Yes."]))
        chat.choose_model("Large")
        chat.say("Hi")
        chat.expect_end()

        assert provider.calls[0].body["model"] == "large"
        chat.button("Details").or_(chat.page.locator("summary[title=Details]")).click()
        expect(chat.page.locator("[data-part=facts-list]")).to_contain_text("Large")
        expect(chat.page.locator("[data-part=facts-list]")).to_contain_text("Reasoning effort")


class TestEffort:
    def test_only_a_model_that_has_efforts_shows_them(self, chat):
        expect_model(chat, "Small")
        expect(chat.effort).to_be_hidden()
        chat.choose_model("Large")

        expect(chat.effort).to_have_value("medium")
        expect(chat.effort.locator("option")).to_have_text(["Reasoning: Low", "Reasoning: Medium", "Reasoning: High"])

    def test_it_is_sent_and_remembered_with_the_conversation(self, chat, provider, conversation):
        provider.script(Script(["Yes."]))
        chat.choose_model("Large")
        chat.effort.select_option("high")
        chat.say("Hi")
        chat.expect_end()
        assert provider.calls[0].body["reasoning_effort"] == "high"

        sent = chat.conversation_id
        chat.open(f"c/{conversation.pk}")
        expect_model(chat, "Small")
        chat.open(f"c/{sent}")

        expect_model(chat, "Large")
        expect(chat.effort).to_have_value("high")


class TestRegenerating:
    def test_with_another_model_by_the_keyboard(self, page, site, provider, conversation):
        provider.script(Script(["No."]))
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.replies).to_have_count(1)
        chat.press(another_model(chat), by="Shift+Tab")
        expect(items(page).nth(0)).to_be_focused()
        expect(items(page).nth(0)).to_have_attribute("aria-checked", "true")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(chat.reply()).to_have_text("No.")
        chat.expect_end()

        expect_model(chat, "Large")
        expect(chat.replies.get_by_text("2 of 2")).to_be_visible()
        reply = Message.objects.get(text="No.")
        assert (reply.model, reply.effort) == ("loopback:large", "medium")
        chat.expect_focus_kept()

    def test_a_site_with_one_model_has_no_menu(self, page, site, conversation):
        def only_one(route) -> None:
            response = route.fetch()
            route.fulfill(response=response, json={"results": response.json()["results"][:1]})

        page.route("**/api/models", only_one)
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.button("Regenerate")).to_be_visible()

        expect(another_model(chat)).to_be_hidden()
        expect(chat.model).to_be_hidden()
