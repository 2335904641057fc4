"""The chat in a browser that runs no script."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.factories import make_conversation, make_message, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .conftest import sign_in, watched


@pytest.fixture
def page(chromium, site, user) -> Iterator[Page]:
    with watched(chromium, base_url=site, java_script_enabled=False) as context:
        sign_in(context, site, user)
        yield context.new_page()


class TestPlainPage:
    def test_a_form_leads_to_the_reply_and_the_next_form_goes_on(self, page, provider):
        provider.script(Script(["It **rains**."]), Script(["Still."]))
        page.goto("/chat/?view=plain")
        page.get_by_label("Message", exact=True).fill("Will it rain?")
        page.get_by_role("button", name="Send").click()

        expect(page).to_have_url(re.compile(r"/chat/c/[0-9a-f-]{36}\?view=plain#m-"))
        expect(page.locator("strong")).to_have_text("rains")

        page.get_by_label("Message", exact=True).fill("And now?")
        page.get_by_role("button", name="Send").click()

        expect(page.locator(".scp-turn")).to_have_count(4)
        expect(page.locator(".scp-turn").last).to_contain_text("Still.")

    def test_the_page_looks_for_the_rest_of_a_reply_by_itself(self, page, provider, context):
        """Also where its address names a message: to go to a place in the same page loads nothing."""
        gate = Gate()
        provider.script(Script(["It ", "rains"], gates={1: gate}))
        with held(gate):
            tab = context.new_page()
            tab.goto("/chat/")
            tab.get_by_label("Message", exact=True).fill("Will it rain?")
            tab.get_by_label("Message", exact=True).press("Enter")
            expect(tab).to_have_url(re.compile("/chat/c/"))
            page.goto(f"{tab.url}?view=plain#messages")
            expect(page.locator(".scp-outcome")).to_have_text("Being written…")
        page.get_by_label("Message", exact=True).wait_for()

        expect(page.locator(".scp-turn").last).to_contain_text("It rains")
        expect(page.locator(".scp-outcome")).to_have_count(0)


class TestWindow:
    HEIGHTS = "[document.documentElement.scrollHeight, innerHeight]"

    @pytest.fixture
    def scripted(self, chromium, site, user) -> Iterator[Page]:
        """Return a page that the test can measure."""
        with watched(chromium, base_url=site, viewport={"width": 1280, "height": 800}) as context:
            sign_in(context, site, user)
            yield context.new_page()

    def test_a_short_page_fills_it_with_the_form_at_its_end(self, scripted, user):
        make_conversation(user, title="Snow")
        scripted.goto("/chat/?view=plain")
        total, window = scripted.evaluate(self.HEIGHTS)
        form, list_ = (scripted.locator(name).bounding_box() for name in (".scp-form", ".scp-conversations"))

        assert total == window
        assert form["y"] + form["height"] == pytest.approx(window, abs=1)
        assert list_["x"] + list_["width"] <= form["x"]

    def test_a_long_one_keeps_the_form_in_view_and_hides_no_message_behind_it(self, scripted, user):
        conversation = make_conversation(user)
        for number in range(8):
            make_reply(conversation, "line\n\n" * 10, parent=make_message(conversation, f"Message {number}"))
        scripted.goto(f"/chat/c/{conversation.pk}?view=plain")
        expect(scripted.locator(".scp-form")).to_be_in_viewport(ratio=1)
        scripted.mouse.wheel(0, 100_000)
        last = scripted.locator(".scp-turn").last
        scripted.wait_for_function("() => scrollY + innerHeight >= document.documentElement.scrollHeight - 1")

        bottom = last.bounding_box()["y"] + last.bounding_box()["height"]
        assert bottom <= scripted.locator(".scp-form").bounding_box()["y"]

    def test_a_phone_needs_no_sideways_scrolling(self, scripted, user):
        conversation = make_conversation(user, title="A long title that goes on " * 4)
        make_reply(conversation, "x" * 300)
        scripted.set_viewport_size({"width": 360, "height": 740})
        scripted.goto(f"/chat/c/{conversation.pk}?view=plain")

        assert scripted.evaluate("document.documentElement.scrollWidth") == 360
        expect(scripted.locator(".scp-conversations")).to_be_visible()

    def test_right_to_left_the_list_is_on_the_right(self, chromium, site, user):
        make_conversation(user)
        size = {"width": 1280, "height": 800}
        with watched(chromium, base_url=site, viewport=size, locale="ar") as context:
            sign_in(context, site, user)
            page = context.new_page()
            page.goto("/chat/?view=plain")

            assert (
                page.locator(".scp-conversations").bounding_box()["x"] > page.locator(".scp-main").bounding_box()["x"]
            )


class TestGone:
    def test_a_conversation_that_is_gone_leads_back_by_the_keyboard(self, page):
        page.goto("/chat/c/01a2292c-febf-77a7-b14e-88a49dec8ca7")
        expect(page.get_by_role("heading", level=1)).to_have_text("This conversation no longer exists.")
        expect(page.get_by_role("banner")).to_be_visible()
        link = page.get_by_role("link", name="Go to your chats")
        link.focus()
        page.keyboard.press("Enter")

        expect(page).to_have_url(re.compile("/chat/$"))
