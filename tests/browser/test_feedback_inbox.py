"""The feedback inbox and the access records in Chromium: from a comment to its message, and to who read it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import Feedback
from tests.factories import make_conversation, make_message, make_reply, make_staff, make_user

from .axe import violations
from .conftest import sign_in, watched

PERMISSIONS = ("view_conversation", "view_transcript", "view_accessrecord")
FEEDBACK = "/admin/streaming_chat/feedback/"
RECORDS = "/admin/streaming_chat/accessrecord/"
WIDTHS = [(1280, "en"), (1000, "de"), (375, "en"), (375, "ar")]


@pytest.fixture
def rating(transactional_db: None) -> Feedback:
    """Return a rating of a reply on a branch that its owner does not see any more, among others."""
    conversation = make_conversation()
    asked = make_message(conversation)
    rated = make_reply(conversation, "No, **never**.", parent=asked)
    make_reply(conversation, "Yes.", parent=asked)
    rating = Feedback.objects.create(
        message=rated, value=-1, comment="It rained all day.", by=conversation.owner, owner_key=conversation.owner_key
    )
    for number in range(3):
        other = make_reply(make_conversation(make_user(f"user{number}")))
        Feedback.objects.create(message=other, value=1, comment="w" * 400, owner_key=other.conversation.owner_key)
    return rating


@pytest.fixture
def staff(chromium: Browser, site: str, rating: Feedback) -> Iterator[Page]:
    with watched(chromium, base_url=site, viewport={"width": 1280, "height": 800}) as context:
        sign_in(context, site, make_staff("rita", *PERMISSIONS))
        yield context.new_page()


class TestFeedbackInbox:
    def test_from_a_comment_to_its_message_and_to_who_read_it(self, staff, rating):
        staff.goto(FEEDBACK)
        staff.get_by_role("link", name="rated bad").click()
        staff.wait_for_url("**/feedback/?feedback=bad")
        staff.locator("#searchbar").fill("RAINED day")
        staff.locator("#searchbar").press("Enter")
        staff.wait_for_url("**/feedback/?*q=*")

        assert "feedback=bad" in staff.url
        assert "ained" not in staff.url
        expect(staff.locator("#result_list tbody tr")).to_have_count(1)

        staff.locator("#result_list .field-when a, #result_list th a").first.click()

        message = staff.locator(f"#m-{rating.message_id}")
        expect(message).to_be_in_viewport()
        expect(message).to_contain_text("It rained all day.")

        staff.get_by_role("link", name="who read this owner’s conversations").click()

        expect(staff.locator(".list-readers")).to_have_text("In these records: rita (4)")

    @pytest.mark.parametrize(("width", "locale"), WIDTHS)
    def test_the_pages_fit(self, chromium, site, rating, width, locale):
        options = {"base_url": site, "viewport": {"width": width, "height": 800}, "locale": locale}
        with watched(chromium, **options) as context:
            sign_in(context, site, make_staff("rita", *PERMISSIONS))
            page = context.new_page()
            page.goto(f"/admin/streaming_chat/conversation/{rating.message.conversation_id}/change/")
            for address in (FEEDBACK, f"{RECORDS}?owner_key={rating.owner_key}"):
                page.goto(address)
                expect(page.locator("#result_list tbody tr")).not_to_have_count(0)

                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert [found for found in violations(page, "#changelist") if found[0] == "color-contrast"] == []
