"""A long conversation: the page fetches its newest messages first."""

import pytest
from playwright.sync_api import expect

from streaming_chat.models import Conversation
from tests.factories import make_conversation, make_message, make_reply

from .chat import ChatPage


@pytest.fixture
def conversation(user, site):
    """80 messages in one branch."""
    conversation = make_conversation(user)
    for number in range(40):
        make_message(conversation, f"Question {number}")
        make_reply(conversation, f"Reply {number}", parent=conversation.head)
    return conversation


class TestEarlierMessages:
    def test_what_is_read_stays_where_it_is(self, page, conversation):
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        earlier = chat.button("Show earlier messages")
        expect(chat.replies).to_have_count(15)
        first = chat.users.first
        expect(first).to_have_text("Question 25")
        earlier.focus()
        top = first.bounding_box()["y"]
        page.keyboard.press("Enter")
        expect(chat.replies).to_have_count(30)

        assert page.get_by_text("Question 25").bounding_box()["y"] == pytest.approx(top, abs=1)
        expect(earlier).to_be_focused()
        page.keyboard.press("Enter")
        expect(chat.replies).to_have_count(40)
        expect(earlier).to_be_hidden()
        expect(page.locator("[data-part=messages] > :first-child")).to_be_focused()
        assert chat.users.all_text_contents() == [f"Question {number}" for number in range(40)]

    def test_the_address_of_an_earlier_message_opens_there(self, page, conversation):
        wanted = conversation.messages.get(text="Reply 3")
        chat = ChatPage(page).open(f"c/{conversation.pk}#m-{wanted.pk}")

        expect(page.locator(".sc-reply", has_text="Reply 3").first).to_be_in_viewport()
        expect(chat.replies).to_have_count(40)
        conversation.refresh_from_db()
        assert conversation.head.text == "Reply 39"

    def test_a_version_of_an_early_message_leads_to_the_end_of_its_branch(self, page, conversation):
        last = conversation.head
        make_message(conversation, "Another question", parent=None)
        other = make_reply(conversation, "Another reply")
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        chat.button("Previous version").click()
        expect(chat.reply()).to_have_text("Reply 39")
        conversation.refresh_from_db()
        assert conversation.head == last
        chat.button("Show earlier messages").click()
        expect(chat.replies).to_have_count(30)
        chat.button("Show earlier messages").click()
        chat.button("Next version").click()
        expect(chat.reply()).to_have_text("Another reply")

        expect(chat.replies).to_have_count(1)
        conversation.refresh_from_db()
        assert conversation.head == other

    def test_a_full_conversation_takes_no_more_and_the_text_stays(self, page, conversation):
        Conversation.objects.update(message_count=5_000)
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.replies).to_have_count(15)
        chat.say("One more")

        expect(chat.error).to_contain_text("This conversation has reached its maximum length. Start a new one.")
        expect(chat.text).to_have_value("One more")
        expect(chat.button("Try again")).to_be_hidden()
        expect(chat.replies).to_have_count(15)
