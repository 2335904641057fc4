"""What is sent while a reply is being written, what is sent without a text, and files."""

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Message
from tests.factories import make_conversation, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .chat import ChatPage
from .conftest import sign_in, watched

# Pastes or drops these items; returns whether the page has kept the browser from handling it.
TRANSFER = """(element, [type, kinds]) => {
    const data = new DataTransfer();
    for (const kind of kinds) {
        if (kind === "Files") data.items.add(new File(["x"], "notes.txt", { type: "text/plain" }));
        else data.setData(kind, "some text");
    }
    const options = { bubbles: true, cancelable: true };
    const event = type === "paste"
        ? new ClipboardEvent(type, { ...options, clipboardData: data })
        : new DragEvent(type, { ...options, dataTransfer: data });
    return !element.dispatchEvent(event);
}"""


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


@pytest.fixture
def gate(provider) -> Gate:
    """Return what holds the first reply in its middle."""
    gate = Gate()
    provider.script(Script(["One", " whole"], gates={1: gate}), Script(["Two"]))
    return gate


def queue(chat: ChatPage):
    return chat.page.get_by_role("group", name="Queued message")


def asked(provider) -> list[str]:
    """Return the last message of each request to the provider."""
    return [call.body["messages"][-1]["content"] for call in provider.calls]


class TestQueue:
    def test_a_message_waits_and_is_sent_when_the_reply_is_finished(self, chat, provider, gate):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            expect(queue(chat)).to_contain_text("And then?")
            expect(chat.text).to_have_value("")
            expect(chat.status).to_have_text("Queued. It will be sent when the reply is finished.")
            expect(chat.users).to_have_text(["Hi"])
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        expect(queue(chat)).to_be_hidden()
        expect(chat.users).to_have_text(["Hi", "And then?"])
        expect(chat.reply()).to_have_text("Two")
        assert asked(provider) == ["Hi", "And then?"]
        chat.reload()
        expect(chat.users).to_have_count(2)
        expect(queue(chat)).to_be_hidden()

    def test_a_second_one_is_its_next_paragraph(self, chat, provider, gate):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            chat.say("And why?")
            expect(queue(chat)).to_contain_text("And why?")
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        assert asked(provider) == ["Hi", "And then?\n\nAnd why?"]

    def test_it_is_edited_and_removed_by_the_keyboard(self, chat, provider, gate):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            chat.text.fill("Typed")
            chat.press(chat.button("Edit queued message"), by="Shift+Tab")
            expect(chat.text).to_be_focused()
            expect(chat.text).to_have_value("And then?\n\nTyped")
            expect(queue(chat)).to_be_hidden()
            chat.text.press("Enter")
            # In an empty composer, Up takes what comes next.
            chat.text.press("ArrowUp")
            expect(chat.text).to_have_value("And then?\n\nTyped")
            chat.text.press("Enter")
            chat.press(chat.button("Remove queued message"), by="Shift+Tab")
            expect(queue(chat)).to_be_hidden()
            expect(chat.text).to_be_focused()
        chat.expect_end()

        expect(chat.status).to_have_text("Reply finished")
        assert asked(provider) == ["Hi"]

    def test_it_waits_over_a_reload(self, chat, provider, gate):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            chat.text.fill("Typed")
            chat.reload()
            expect(chat.reply()).to_have_text("One")
            expect(queue(chat)).to_contain_text("And then?")
            expect(chat.text).to_have_value("Typed")
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        assert asked(provider) == ["Hi", "And then?"]
        expect(chat.text).to_have_value("Typed")

    def test_it_is_sent_when_the_page_finds_the_reply_finished(self, chat, provider, gate, context):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            address = chat.page.url
            chat.page.goto("/embedded/box/")
        other = ChatPage(context.new_page()).open(address.partition("/chat/")[2])
        other.expect_end()
        expect(queue(other)).to_be_hidden()
        chat.page.goto(address)
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        assert asked(provider) == ["Hi", "And then?"]

    def test_a_new_chat_has_one_before_its_reply_has_a_name(self, chat, provider):
        provider.script(Script(["One"]), Script(["Two"]))
        waiting = []
        chat.page.route("**/api/messages", lambda route: waiting.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
        chat.say("Hi")
        chat.say("And then?")
        expect(queue(chat)).to_contain_text("And then?")
        waiting[0].continue_()
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        assert asked(provider) == ["Hi", "And then?"]

    @pytest.mark.parametrize("ending", ["stopped", "interrupted"])
    def test_it_waits_for_the_user_if_the_reply_is_not_finished(self, chat, provider, ending):
        gate = Gate()
        fault = {"fault": "cut", "after": 2} if ending == "interrupted" else {}
        provider.script(Script(["Half", " more", " whole"], gates={1: gate}, **fault), Script(["Two"]))
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Half")
            chat.say("And then?")
            expect(chat.button("Send now")).to_be_hidden()
            if ending == "stopped":
                chat.text.press("Escape")
                chat.expect_end(ending)
        chat.expect_end(ending)

        expect(queue(chat)).to_contain_text("And then?")
        assert asked(provider) == ["Hi"]
        chat.reload()
        chat.press(chat.button("Send now"), by="Shift+Tab")
        expect(queue(chat)).to_be_hidden()
        expect(chat.text).to_be_focused()
        expect(chat.reply()).to_have_text("Two")
        chat.expect_end()
        assert asked(provider) == ["Hi", "And then?"]

    def test_one_that_is_refused_is_in_the_composer(self, chat, provider, gate):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("x" * 32_001)
            chat.text.fill("Typed")
        expect(chat.error).to_contain_text("it has 32001 characters")

        expect(chat.text).to_have_value(f"{'x' * 32_001}\n\nTyped")
        expect(queue(chat)).to_be_hidden()
        expect(chat.users).to_have_text(["Hi"])

    def test_another_conversation_has_its_own(self, chat, provider, gate, user):
        other = make_conversation(user, title="Snow")
        make_reply(other, "White")
        chat.reload()
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            chat.page.locator(".sc-conversation", has_text="Snow").click()
            expect(chat.reply()).to_have_text("White")
            expect(queue(chat)).to_be_hidden()
            chat.page.go_back()
            expect(queue(chat)).to_contain_text("And then?")
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        assert other.messages.count() == 2

    def test_the_focus_stays_where_it_is(self, chat, provider, gate):
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            chat.say("And then?")
            search = chat.page.get_by_label("Search conversations")
            search.evaluate("(input) => { input.hidden = false; }")
            search.focus()
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        expect(search).to_be_focused()


class TestSendButton:
    def test_without_a_text_it_is_disabled_and_nothing_is_sent(self, chat, provider):
        expect(chat.send_button).to_be_disabled()
        for text in ("", "  \n "):
            chat.text.fill(text)
            expect(chat.send_button).to_be_disabled()
            chat.text.press("Enter")
        chat.text.fill("Hi")
        expect(chat.send_button).to_be_enabled()
        expect(chat.users).to_have_count(0)
        chat.send_button.click()
        chat.expect_end()

        expect(chat.send_button).to_be_disabled()
        assert Message.objects.count() == 2

    def test_it_stays_in_its_place_and_queues(self, chat, provider, gate):
        """What is pressed for one thing must not do another when a reply begins or ends."""
        place = chat.send_button.bounding_box()
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            later = chat.button("Send when the reply is finished")
            assert later.bounding_box() == place
            chat.text.fill("And then?")
            later.click()
            expect(queue(chat)).to_contain_text("And then?")
            chat.expect_focus_kept()
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        assert chat.button("Send").bounding_box() == place


class TestFiles:
    EXPLANATION = "Files are not supported. Paste their text instead."

    @pytest.mark.parametrize("event", ["paste", "drop"])
    def test_they_are_refused_with_an_explanation(self, chat, event):
        chat.text.fill("Typed")

        assert chat.text.evaluate(TRANSFER, [event, ["Files"]])
        expect(chat.error).to_contain_text(self.EXPLANATION)
        expect(chat.text).to_have_value("Typed")

    def test_one_that_is_dropped_beside_the_chat_does_not_replace_the_page(self, chat):
        body = chat.page.locator("body")

        assert body.evaluate(TRANSFER, ["dragover", ["Files"]])
        assert body.evaluate(TRANSFER, ["drop", ["Files"]])
        expect(chat.error).to_contain_text(self.EXPLANATION)

    @pytest.mark.parametrize("event", ["paste", "drop"])
    def test_a_text_with_its_picture_is_a_text(self, chat, event):
        assert not chat.text.evaluate(TRANSFER, [event, ["text/plain", "Files"]])
        expect(chat.error).to_be_hidden()

    def test_a_chat_in_a_page_leaves_the_rest_of_the_page_alone(self, page, site, user):
        page.goto("/embedded/box/")
        chat = ChatPage(page)

        assert not page.locator("body").evaluate(TRANSFER, ["drop", ["Files"]])
        assert chat.text.evaluate(TRANSFER, ["drop", ["Files"]])
        expect(chat.error).to_contain_text(self.EXPLANATION)


class TestElsewhere:
    def test_the_queue_right_to_left(self, chromium, site, user, provider, gate):
        with held(gate), watched(chromium, base_url=site, locale="ar") as context:
            sign_in(context, site, user)
            chat = ChatPage(context.new_page())
            chat.page.goto("/chat/")
            chat.page.locator(".sc-composer .sc-text").fill("Hi")
            chat.page.keyboard.press("Enter")
            expect(chat.reply()).to_have_text("One")
            chat.page.keyboard.type("ثم ماذا؟")
            chat.page.keyboard.press("Enter")
            shown = chat.page.locator(".sc-queue")
            expect(shown).to_contain_text("ثم ماذا؟")

            box, edit = shown.bounding_box(), shown.locator("[data-part=queue-edit]").bounding_box()
            assert edit["x"] < box["x"] + box["width"] / 2
