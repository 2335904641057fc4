"""The admin's transcript page in Chromium: a reply that is written before the eyes of staff."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.admin.transcripts import PAGE_SIZE
from streaming_chat.models import Feedback, Message
from tests.factories import make_conversation, make_message, make_reply, make_staff
from tests.hostile import HOSTILE
from tests.provider_server import Gate, Script
from tests.servers import held, outcome, wait_until

from .axe import violations
from .chat import ChatPage
from .conftest import sign_in, watched

READER = ("view_conversation", "view_transcript", "stop_reply")


@pytest.fixture
def staff(chromium: Browser, site: str, user) -> Iterator[Page]:
    """Return a page of somebody who reads transcripts."""
    with watched(chromium, base_url=site, viewport={"width": 1100, "height": 760}) as context:
        sign_in(context, site, make_staff("reviewer", *READER))
        yield context.new_page()


@pytest.fixture
def chat(page: Page) -> ChatPage:
    """Return the page of the owner."""
    return ChatPage(page).open()


def open_transcript(page: Page, conversation: object) -> None:
    page.goto(f"/admin/streaming_chat/conversation/{conversation}/change/")


class TestLive:
    def test_it_grows_and_says_when_it_has_ended(self, staff, chat, provider):
        first, second = Gate(), Gate()
        script = Script(["One", " <b>two</b>", " three"], gates={1: first, 2: second})
        provider.script(script)
        with held(first, second):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            open_transcript(staff, chat.conversation_id)
            shown = staff.locator("[data-live=text]")
            expect(shown).to_have_text("One")
            first.open()
            expect(shown).to_have_text("One <b>two</b>")
            expect(staff.get_by_role("status")).to_have_text("The reply is being written.")
            second.open()
            expect(staff.get_by_role("status")).to_have_text("The model finished the reply.")

        expect(shown).to_have_text(script.text)
        expect(staff.get_by_text("being written")).to_have_count(0)
        staff.get_by_role("link", name="Show the saved reply").click()
        expect(staff.locator(".transcript-message").last).to_contain_text("three")
        expect(staff.locator("[data-follow]")).to_have_count(0)

    def test_staff_stop_it(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script(["One", " two"], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            open_transcript(staff, chat.conversation_id)
            staff.get_by_role("button", name="Stop this reply").click()
            chat.expect_end("stopped")
        reply = wait_until(Message.objects.filter(status="stopped").first)

        assert outcome(reply) == ("stopped", "staff", "")
        assert reply.text == "One"
        staff.reload()
        expect(staff.locator(".transcript-ending")).to_have_text("Staff stopped the reply.")


class TestReading:
    def test_what_was_flagged_is_in_view(self, staff, user):
        conversation = make_conversation(user)
        for number in range(30):
            make_message(conversation, f"Before {number}. " * 20)
        make_reply(conversation, "", status="failed", error_code="provider_timeout")
        open_transcript(staff, conversation.pk)

        expect(staff.locator(".transcript-focus")).to_be_in_viewport()

    def test_what_was_flagged_on_another_branch_is_in_view(self, staff, user):
        """Thumbs down, then Regenerate: a chip leads to each, also on another page, and back to the owner's branch."""
        conversation = make_conversation(user)
        first = make_reply(conversation, "The first.")
        for number in range(PAGE_SIZE):
            make_message(conversation, f"Before {number}. " * 20)
        bad = make_reply(conversation, "Nonsense.")
        Feedback.objects.create(message=bad, value=-1, owner_key=conversation.owner_key)
        make_reply(conversation, "Better.", parent=bad.parent)
        failed = make_reply(conversation, "", parent=first.parent, status="failed", error_code="provider_timeout")
        make_reply(conversation, "Good.", parent=first.parent)
        open_transcript(staff, conversation.pk)
        expect(staff.locator(".transcript-focus")).to_have_id(f"m-{bad.pk}")
        expect(staff.locator(".transcript-focus")).to_be_in_viewport()
        chips = staff.get_by_role("list", name="Messages that need attention").get_by_role("link")
        expect(chips).to_have_text(
            [re.compile("^Rated bad, version 1 of 2, "), re.compile("^Failed, version 2 of 3, ")]
        )
        expect(chips.first).to_have_attribute("aria-current", "true")
        chips.last.focus()
        staff.keyboard.press("Enter")
        expect(staff.locator(".transcript-focus")).to_have_id(f"m-{failed.pk}")
        expect(staff.locator(".transcript-focus")).to_be_in_viewport()
        expect(chips.last).to_have_attribute("aria-current", "true")
        chips.first.click()
        expect(staff.locator(f"#m-{bad.pk}")).to_be_in_viewport()
        staff.get_by_role("link", name="Show the owner’s branch").click()

        expect(staff.get_by_text("Good.")).to_be_in_viewport()
        expect(chips).to_have_count(2)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, chromium, site, user, scheme):
        conversation = make_conversation(user, metadata={"page": "/weather/"})
        make_message(conversation)
        text = "## Yes\n\n- today\n\n```py\nx = 1\n```"
        stopped = make_reply(conversation, text, status="stopped", end_reason="user")
        for _ in range(11):
            make_reply(conversation, "", parent=stopped.parent, status="failed", error_code="provider_timeout")
        # axe puts a style element into the admin's page for a moment.
        context = chromium.new_context(base_url=site, color_scheme=scheme, bypass_csp=True)
        sign_in(context, site, make_staff("reviewer", *READER))
        page = context.new_page()
        open_transcript(page, conversation.pk)

        assert violations(page, "#content-main") == []
        context.close()

    def test_hostile_text_does_nothing(self, staff, site, user):
        faults = []
        staff.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        staff.on("request", lambda request: request.url.startswith(site) or faults.append(request.url))
        metadata = {f"key {number}": text for number, text in enumerate(HOSTILE.values())}
        conversation = make_conversation(user, title=HOSTILE["image handler"], metadata=metadata)
        for text in HOSTILE.values():
            make_message(conversation, text)
            make_reply(conversation, text, parent=conversation.head, model=text[:100])
        open_transcript(staff, conversation.pk)
        staff.get_by_role("link", name="Later messages").first.click()
        staff.wait_for_load_state("networkidle")

        assert faults == []
