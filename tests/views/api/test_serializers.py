"""The JSON of conversations and messages."""

from django.test import TestCase

from streaming_chat.models import Feedback, Message
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.views.api.serializers import serialize_conversation, serialize_message, serialize_messages
from tests.factories import make_conversation, make_live, make_message, make_reply


def loaded(message):
    """Return a message as the database has it."""
    return Message.objects.select_related("parent").get(pk=message.pk)


class SerializerTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation(system_prompt="Be brief.")
        self.reply = loaded(make_reply(self.conversation))

    def test_a_conversation_never_shows_its_system_prompt(self):
        assert "Be brief." not in str(serialize_conversation(self.conversation))

    def test_any_number_of_messages_takes_two_queries(self):
        other = loaded(make_reply(self.conversation, "No.", parent=self.reply.parent))
        messages = [self.reply.parent, self.reply, other]
        with self.assertNumQueries(2):
            shapes = serialize_messages(messages, self.conversation.owner_key)

        assert [shape["siblings"] for shape in shapes] == [
            {"index": 1, "count": 1, "previous": None, "next": None},
            {"index": 1, "count": 2, "previous": None, "next": str(other.pk)},
            {"index": 2, "count": 2, "previous": str(self.reply.pk), "next": None},
        ]  # fmt: skip

    def test_feedback_is_shown_to_whoever_gave_it(self):
        Feedback.objects.create(message=self.reply, value=1, owner_key=self.conversation.owner_key)

        assert serialize_message(self.reply, self.conversation.owner_key)["feedback"] == {"value": 1, "comment": ""}
        assert serialize_message(self.reply, "u:0")["feedback"] is None

    def test_a_reply_that_is_being_written_shows_what_was_saved(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"))
        shape = serialize_message(live.message, live.owner_key)

        assert (shape["text"], shape["position"], shape["status"]) == ("Hel", 4, "streaming")

    def test_an_error_says_whether_another_try_makes_sense(self):
        failed = loaded(make_reply(self.conversation, "", status="failed", error_code="provider_stall", ref="abc"))
        error = serialize_message(failed, self.conversation.owner_key)["error"]

        assert set(error) == {"code", "message", "retryable", "ref"}
        assert (error["code"], error["retryable"], error["ref"]) == ("provider_stall", True, "abc")
        assert serialize_message(make_message(self.conversation), "u:0")["error"] is None
