"""Redacting what is selected in a transcript, in Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import AccessRecord, Message
from tests.factories import make_conversation, make_reply, make_staff

from .axe import violations
from .conftest import sign_in, watched

REDACTOR = ("view_conversation", "view_transcript", "redact_transcript")
# Selects in a message, from the beginning of one text to the end of another.
SELECT = """([message, from, to]) => {
  const walker = document.createTreeWalker(document.getElementById(`m-${message}`), NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const [start, end] = [from, to].map((words) => nodes.find((node) => node.data.includes(words)));
  const range = document.createRange();
  range.setStart(start, start.data.indexOf(from));
  range.setEnd(end, end.data.indexOf(to) + to.length);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}"""


@pytest.fixture
def staff(chromium: Browser, site: str, user) -> Iterator[Page]:
    """Return a page of a member of staff who may redact."""
    with watched(chromium, base_url=site, viewport={"width": 1100, "height": 760}) as context:
        sign_in(context, site, make_staff("redactor", *REDACTOR))
        yield context.new_page()


class TestSelection:
    def test_it_is_redacted_after_a_preview(self, staff):
        reply = make_reply(make_conversation(), "My card is **4111** 1111, and it is mine.")
        staff.goto(f"/admin/streaming_chat/conversation/{reply.conversation_id}/change/")
        staff.evaluate(SELECT, [str(reply.pk), "4111", "1111"])
        staff.locator(f"#m-{reply.pk}").get_by_role("button", name="Redact…").click()

        expect(staff.get_by_role("textbox", name="Text")).to_have_value("4111 1111")
        assert "4111" not in staff.url
        staff.get_by_role("button", name="Preview").click()
        expect(staff.locator(".redact-preview mark")).to_have_text("4111** 1111")
        assert violations(staff) == []
        staff.get_by_label("Reason").fill("Asked for by the owner")
        staff.get_by_role("button", name="Redact", exact=True).click()
        expect(staff.locator(".messagelist")).to_have_text("Redacted in 1 message.")
        expect(staff.locator(f"#m-{reply.pk}")).to_contain_text("[redacted], and it is mine.")
        assert Message.objects.get(pk=reply.pk).text == "My card is **[redacted], and it is mine."
        assert AccessRecord.objects.get(kind="redact_part").reason == "Asked for by the owner"

    def test_a_selection_in_another_message_is_not_taken(self, staff):
        conversation = make_conversation()
        first, second = make_reply(conversation, "One"), make_reply(conversation, "Two")
        staff.goto(f"/admin/streaming_chat/conversation/{conversation.pk}/change/")
        staff.evaluate(SELECT, [str(first.pk), "One", "One"])
        staff.locator(f"#m-{second.pk}").get_by_role("button", name="Redact…").click()

        expect(staff.get_by_role("textbox", name="Text")).to_have_value("")
