"""What is added to a conversation reopens its review, or marks it as needing attention."""

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from streaming_chat.models import Review
from streaming_chat.protocol.endings import Ending, completed, stopped
from streaming_chat.protocol.events import Event
from streaming_chat.review import reviews
from streaming_chat.shortcuts import send_message
from tests.factories import end_live, make_conversation, make_live, make_user
from tests.native import ApiTestCase
from tests.review.factories import finish, make_reviewer, needs_attention, state


class ReopeningTests(ApiTestCase):
    """By what owners do, through the API."""

    def setUp(self):
        super().setUp()
        self.rita = make_reviewer()
        self.reply = self.api.reply()
        self.conversation = self.reply.conversation
        finish(self.conversation, self.rita)

    def test_a_newer_message_reopens_it(self):
        self.api.send("And tomorrow?", self.conversation)

        assert state(self.conversation) == "unreviewed"
        assert Review.objects.get().through_id == self.reply.pk

    def test_one_from_the_sites_own_code_does(self):
        with self.captureOnCommitCallbacks():
            send_message(self.user, "And tomorrow?", conversation=self.conversation)

        assert state(self.conversation) == "unreviewed"

    def test_a_reply_that_is_written_again_does(self):
        list(self.api.post(f"api/messages/{self.reply.pk}/regenerate").streaming_content)

        assert state(self.conversation) == "unreviewed"

    def test_an_ending_does(self):
        """What was done while it was written was not seen to its end."""
        live = make_live(self.conversation, Event("text", "Hel"))
        finish(self.conversation, self.rita)
        end_live(live, completed("stop"))

        assert state(self.conversation) == "unreviewed"

    def test_one_in_review_stays_with_its_reviewer(self):
        self.api.send("And tomorrow?", self.conversation)
        reviews.take(self.conversation.pk, self.rita)
        self.api.send("And then?", self.conversation)

        assert state(self.conversation) == "in_review"

    def test_it_costs_no_query(self):
        with CaptureQueriesContext(connection) as queries:
            self.api.send("And tomorrow?", self.conversation)
        reopening = [query["sql"] for query in queries if "review_state" in query["sql"] and "CASE" in query["sql"]]

        assert len(reopening) == 2
        assert not [query["sql"] for query in queries if "streaming_chat_review" in query["sql"]]
        assert all('"last_status"' in sql for sql in reopening)

    def test_a_thumb_down_reopens_it_and_a_thumb_up_does_not(self):
        path = f"api/messages/{self.reply.pk}/feedback"
        self.api.put(path, {"value": 1})

        assert (state(self.conversation), needs_attention(self.conversation)) == ("done", False)

        self.api.put(path, {"value": -1})

        assert (state(self.conversation), needs_attention(self.conversation)) == ("unreviewed", True)

    def test_a_thumb_down_that_is_no_reason_only_reopens_it(self):
        with self.settings(STREAMING_CHAT_REVIEW_REASONS=["failed"]):
            self.api.put(f"api/messages/{self.reply.pk}/feedback", {"value": -1})

        assert (state(self.conversation), needs_attention(self.conversation)) == ("unreviewed", False)


ENDINGS = {
    "completed": completed("stop"),
    "cut off": completed("length"),
    "stopped": stopped("user"),
    "disconnected": stopped("disconnect"),
    "interrupted": Ending("interrupted", "lease_expired", "lease_expired"),
    "failed": Ending("failed", "", "provider_timeout"),
}


class AttentionTests(TestCase):
    def endings_that_need_it(self):
        found = set()
        for name, ending in ENDINGS.items():
            live = make_live(make_conversation(make_user(f"{name} {make_conversation().pk}")))
            end_live(live, ending)
            if needs_attention(live.conversation):
                found.add(name)
        return found

    def test_errors_need_it_and_a_person_who_pressed_stop_does_not(self):
        assert self.endings_that_need_it() == {"interrupted", "failed"}

    def test_the_reasons_are_a_setting(self):
        """Also while the process runs, for tests: the statement that saves an ending is compiled once."""
        for reasons, wanted in (
            (["stopped"], {"stopped", "disconnected"}),
            (["failed", "rated_bad"], {"failed"}),
            ([], set()),
        ):
            with self.subTest(reasons), self.settings(STREAMING_CHAT_REVIEW_REASONS=reasons):
                assert self.endings_that_need_it() == wanted

    def test_a_good_ending_does_not_take_it_back(self):
        live = make_live(make_conversation(needs_attention=True))
        end_live(live, completed("stop"))

        assert needs_attention(live.conversation)
