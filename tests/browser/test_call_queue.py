"""Answering tool calls as staff, in Chromium: by keyboard, on a phone, and for a screen reader."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import ToolCall
from tests.factories import make_conversation, make_staff, make_waiting

from .axe import violations
from .conftest import sign_in

LIST = "/admin/streaming_chat/toolcall/"
ANSWERING = ("view_conversation", "view_transcript", "answer_tool_call")


@pytest.fixture
def staff(chromium: Browser, site: str, transactional_db: None) -> Iterator[Page]:
    context = chromium.new_context(base_url=site)
    sign_in(context, site, make_staff("staff", *ANSWERING))
    yield context.new_page()
    context.close()


@pytest.fixture
def call(transactional_db: None) -> ToolCall:
    """Return the first of two calls, so that the reply goes on waiting."""
    return make_waiting(make_conversation(), "refund", "pay", editable=True)[0]


class TestCallQueue:
    def test_a_call_is_allowed_from_the_queue_by_keyboard(self, staff, call):
        staff.goto(LIST)
        staff.get_by_role("link", name="Answer…").first.focus()
        staff.keyboard.press("Enter")
        staff.get_by_label("Arguments, which you can change").fill('{"order": 8}')
        staff.get_by_role("button", name="Allow").focus()
        staff.keyboard.press("Enter")

        expect(staff.get_by_text("The answer is saved.")).to_be_visible()
        expect(staff.locator(".transcript-calls")).to_contain_text("allowed by staff")
        call.refresh_from_db()
        assert call.answer == {"approved": True, "arguments": '{"order": 8}'}

    def test_enter_in_the_reason_runs_nothing(self, staff, call):
        """The first button of a form is pressed by Enter: it must be the one that refuses."""
        staff.goto(f"{LIST}{call.pk}/answer/")
        staff.get_by_label("Reason, if you deny it").fill("Too much")
        staff.keyboard.press("Enter")

        expect(staff.get_by_text("The answer is saved.")).to_be_visible()
        call.refresh_from_db()
        assert call.answer == {"approved": False, "reason": "Too much"}

    @pytest.mark.parametrize("width", [375, 1280])
    def test_nothing_is_cut_off_and_axe_finds_nothing(self, staff, call, width):
        staff.set_viewport_size({"width": width, "height": 800})
        for path in (
            LIST,
            f"{LIST}{call.pk}/answer/",
            f"/admin/streaming_chat/conversation/{call.message.conversation_id}/change/",
        ):
            staff.goto(path)

            assert staff.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert violations(staff, "#content") == [], path
