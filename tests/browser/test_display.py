"""The chat on other screens and for other eyes: less motion, forced colours, zoom, right to left, a phone."""

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Conversation
from tests.factories import make_conversation, make_message, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .chat import ChatPage
from .conftest import sign_in, watched
from .test_accessibility import LONG

PHONE = {"width": 360, "height": 740}
SIDEWAYS = """() => [document.documentElement, ...document.querySelectorAll(".sc-scroll, .sc-side, .sc-foot, .sc-head")]
    .filter((area) => area.scrollWidth > area.clientWidth).map((area) => area.outerHTML.slice(0, 80))"""
UNSEEN_BUTTONS = """() => [...document.querySelectorAll("streaming-chat :is(button, .sc-icon)")]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }))
    .filter((element) => {
        const { color, backgroundColor, borderStyle } = getComputedStyle(element);
        return color === backgroundColor || (element.matches(".sc-send") && borderStyle === "none");
    }).map((element) => element.outerHTML)"""


@pytest.fixture
def conversation(user) -> Conversation:
    conversation = make_conversation(user, title="A long title that goes on " * 4)
    make_message(conversation, "x" * 300)
    make_reply(conversation, LONG, parent=conversation.head)
    return conversation


def expect_no_sideways_scrolling(page: Page) -> None:
    assert page.evaluate(SIDEWAYS) == []


ANIMATIONS = "document.getAnimations().map(({ animationName }) => animationName)"


class TestMotion:
    def test_nothing_moves_for_whoever_wants_less(self, page, user, site, provider):
        page.emulate_media(reduced_motion="reduce")
        gate = Gate()
        provider.script(Script(gates={0: gate}))
        with held(gate):
            chat = ChatPage(page).open()
            chat.say("Hi")
            expect(page.locator(".sc-waiting")).to_be_visible()
            expect(page.locator(".sc-mark")).to_be_visible()

            assert page.evaluate(ANIMATIONS) == []
            page.emulate_media(reduced_motion="no-preference")
            assert sorted(page.evaluate(ANIMATIONS)) == ["sc-breathe", "sc-breathe", "sc-breathe", "sc-pulse"]


class TestColours:
    def test_forced_ones_leave_every_button_to_be_seen(self, page, conversation, site):
        page.emulate_media(forced_colors="active")
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.replies).to_be_visible()

        assert page.evaluate(UNSEEN_BUTTONS) == []
        chat.text.focus()
        assert chat.text.evaluate("(text) => getComputedStyle(text).outlineStyle") == "solid"


class TestForms:
    def test_they_are_as_wide_as_what_they_belong_to(self, page, conversation, site):
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        chat.button("Bad reply").click()
        chat.button("Edit message").click()
        column = page.locator(".sc-messages").bounding_box()
        boxes = {name: page.locator(name).bounding_box() for name in (".sc-comment", ".sc-edit", ".sc-composer")}

        assert {name: (box["x"], box["width"]) for name, box in boxes.items()} == dict.fromkeys(
            boxes, (column["x"], column["width"])
        )


class TestZoom:
    def test_to_200_percent(self, chromium, site, user, conversation):
        """A window of 1280 pixels is 640 CSS pixels wide then."""
        size = {"width": 640, "height": 400}
        with watched(chromium, base_url=site, viewport=size, device_scale_factor=2) as context:
            sign_in(context, site, user)
            page = context.new_page()
            chat = ChatPage(page).open(f"c/{conversation.pk}")
            expect(chat.replies).to_be_visible()

            expect_no_sideways_scrolling(page)

    def test_of_the_text_alone(self, chromium, site, user, conversation):
        """At 320 CSS pixels, which is what WCAG 1.4.10 asks, with letters twice as large."""
        with watched(chromium, base_url=site, viewport={"width": 320, "height": 640}) as context:
            sign_in(context, site, user)
            page = context.new_page()
            chat = ChatPage(page).open(f"c/{conversation.pk}")
            expect(chat.replies).to_be_visible()
            expect_no_sideways_scrolling(page)
            page.evaluate("document.documentElement.style.fontSize = '200%'")
            expect_no_sideways_scrolling(page)
            page.locator("[data-part=menu]").click()
            expect(page.locator(".sc-new")).to_be_visible()

            expect_no_sideways_scrolling(page)


class TestRightToLeft:
    def test_sides_are_mirrored_and_code_is_not(self, chromium, site, user, conversation):
        with watched(chromium, base_url=site, viewport={"width": 1100, "height": 760}, locale="ar") as context:
            sign_in(context, site, user)
            page = context.new_page()
            chat = ChatPage(page).open(f"c/{conversation.pk}")
            side, main = page.locator(".sc-side").bounding_box(), page.locator(".sc-main").bounding_box()
            composer, send = (page.locator(name).bounding_box() for name in (".sc-composer", "[data-part=send]"))

            assert side["x"] > main["x"]
            assert send["x"] < composer["x"] + composer["width"] / 2
            code = chat.reply().locator("pre")
            assert code.evaluate("(code) => getComputedStyle(code).direction") == "ltr"
            # English text in an Arabic page goes its own way.
            assert chat.reply().locator("p").first.evaluate("(text) => getComputedStyle(text).direction") == "ltr"
            expect_no_sideways_scrolling(page)


class TestPhone:
    @pytest.fixture
    def phone(self, chromium, site, user, conversation):
        options = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 3}
        with watched(chromium, base_url=site, **options) as context:
            sign_in(context, site, user)
            yield ChatPage(context.new_page()).open(f"c/{conversation.pk}")

    def test_no_field_makes_it_zoom_in(self, phone):
        sizes = phone.page.locator("streaming-chat :is(input, textarea, select)").evaluate_all(
            "(fields) => fields.map((field) => parseFloat(getComputedStyle(field).fontSize))"
        )

        assert min(sizes) >= 16

    def test_it_fills_the_window_and_no_more(self, phone):
        heights = "[document.documentElement.scrollHeight, innerHeight]"
        expect(phone.text).to_be_in_viewport(ratio=1)

        assert len(set(phone.page.evaluate(heights))) == 1
        phone.page.set_viewport_size({"width": 360, "height": 500})
        expect(phone.text).to_be_in_viewport(ratio=1)
        assert len(set(phone.page.evaluate(heights))) == 1
