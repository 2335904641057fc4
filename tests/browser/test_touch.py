"""The chat on a phone: a keyboard without Shift+Enter, and a finger in place of a pointer."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from streaming_chat.models import Conversation
from tests.factories import make_conversation, make_reply

from .chat import ChatPage
from .conftest import sign_in, watched

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
# Links in prose are as large as its letters.
SMALL = """() => [...document.querySelectorAll("streaming-chat :is(button, a, summary, select, input)")]
    .filter((element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
    .filter((element) => element.type !== "hidden" && !element.closest(".sc-prose :is(p, li, td, th)"))
    .map((element) => [element.outerHTML.slice(0, 120), element.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 44 || height < 44)
    .map(([html, { width, height }]) => `${width} x ${height}: ${html}`)"""
REPLY = "One\n\n```python\nx = 1\n```\n\n[a link](https://example.com)"


@pytest.fixture
def conversation(user) -> Conversation:
    conversation = make_conversation(user)
    parts = [
        {"kind": "reasoning", "text": "Let me think."},
        {"kind": "tool_call", "id": "1", "name": "weather", "arguments": "{}", "complete": True},
        {"kind": "text", "text": REPLY},
        {"kind": "source", "url": "https://e.example", "title": "E", "id": "", "text": "", "origin": "provider"},
    ]
    first = make_reply(conversation, "Zero")
    make_reply(conversation, REPLY, parent=first.parent, parts=parts)
    return conversation


@pytest.fixture
def phone(chromium, site, user, conversation) -> Iterator[ChatPage]:
    with watched(chromium, base_url=site, **PHONE) as context:
        sign_in(context, site, user)
        chat = ChatPage(context.new_page()).open(f"c/{conversation.pk}")
        # Nothing is sent before the conversation is there.
        expect(chat.replies).to_have_count(1)
        yield chat


class TestKeyboard:
    def test_enter_starts_a_new_line_and_the_button_sends(self, phone, provider):
        phone.text.tap()
        phone.page.keyboard.type("Two")
        phone.page.keyboard.press("Enter")
        phone.page.keyboard.type("lines")
        expect(phone.text).to_have_value("Two\nlines")
        expect(phone.text).not_to_have_attribute("enterkeyhint", "send")
        phone.send_button.tap()
        expect(phone.replies).to_have_count(2)
        phone.expect_end()

        expect(phone.users.last).to_have_text("Two\nlines", use_inner_text=True)

    def test_also_while_a_message_is_edited(self, phone, provider):
        phone.button("Edit message").tap()
        field = phone.page.get_by_role("textbox", name="Edit message")
        phone.page.keyboard.press("Enter")
        phone.page.keyboard.type("Or snow?")
        expect(field).to_have_value("Will it rain?\nOr snow?")
        phone.page.locator(".sc-edit").get_by_role("button", name="Send").tap()
        phone.expect_end()

        expect(phone.users).to_have_text("Will it rain?\nOr snow?", use_inner_text=True)

    def test_a_keyboard_that_is_attached_sends_with_control(self, phone, provider):
        phone.text.fill("Hi")
        phone.text.press("Control+Enter")
        expect(phone.replies).to_have_count(2)
        phone.expect_end()

        expect(phone.users.last).to_have_text("Hi")

    def test_nothing_speaks_of_keys_that_are_not_there(self, phone):
        expect(phone.page.locator(".sc-hint").first).to_be_hidden()
        expect(phone.text).to_have_accessible_description("")


class TestTargets:
    def test_each_is_44_pixels_at_least(self, phone):
        phone.page.get_by_text("Reasoning").first.tap()
        phone.button("Bad reply").tap()
        expect(phone.button("Send comment")).to_be_visible()
        expect(phone.button("Copy").last).to_be_visible()
        found = phone.page.evaluate(SMALL)
        phone.page.locator("[data-part=menu]").tap()
        expect(phone.page.locator(".sc-conversation")).to_be_visible()
        found += phone.page.evaluate(SMALL)
        phone.page.locator(".sc-row [data-part=actions]").tap()
        expect(phone.page.get_by_role("menuitem", name="Rename")).to_be_visible()

        assert found + phone.page.evaluate(SMALL) == []

    def test_with_an_error_and_a_queue(self, phone):
        for notice in ("error", "queue", "undo", "claim"):
            phone.page.locator(f"[data-part={notice}]").evaluate("(notice) => { notice.hidden = false; }")
        phone.page.locator("[data-part=error]").evaluate(
            "(error) => error.querySelectorAll('a, button').forEach((action) => { action.hidden = false; })"
        )

        assert phone.page.evaluate(SMALL) == []


class TestNewChat:
    def test_it_is_one_tap_away(self, phone):
        phone.page.get_by_role("link", name="New chat").tap()

        expect(phone.page.get_by_role("heading", level=1)).to_have_text("New chat")
        expect(phone.users).to_have_count(0)

    def test_a_wide_window_has_one_link_for_it(self, page, conversation, site):
        ChatPage(page).open(f"c/{conversation.pk}")

        expect(page.get_by_role("link", name="New chat")).to_have_count(1)


class TestDrawer:
    def test_what_it_covers_is_dimmed_and_a_tap_there_only_closes_it(self, phone):
        phone.page.locator("[data-part=menu]").tap()
        drawer = phone.page.locator(".sc-side")
        expect(drawer).to_be_visible()
        phone.text.evaluate("(text) => { text.addEventListener('click', () => { window.wasTapped = true; }); }")
        box = phone.text.bounding_box()
        point = {"x": drawer.bounding_box()["width"] + 20, "y": box["y"] + box["height"] / 2}
        scrim = phone.page.evaluate(
            """({ x, y }) => {
                const { backgroundColor } = getComputedStyle(document.elementFromPoint(x, y), "::after");
                return backgroundColor;
            }""",
            point,
        )
        assert scrim == "rgba(0, 0, 0, 0.45)"

        phone.page.touchscreen.tap(point["x"], point["y"])
        expect(drawer).to_be_hidden()
        assert phone.page.evaluate("window.wasTapped") is None
