"""How a reply's ending is saved."""

from django.test import TestCase

from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from tests.factories import end_live, make_conversation, make_live


class EndReplyTests(TestCase):
    RECEIVED = (Event("reasoning", "Hm."), Event("text", "It will "), Event("text", "rain"))

    def setUp(self):
        self.live = make_live(make_conversation(), *self.RECEIVED)

    def end(self, ending, received=RECEIVED, **fields):
        return end_live(self.live, ending, *received, **fields)

    def message(self):
        return Message.objects.get(pk=self.live.pk)

    def test_it_holds_its_parts_and_the_live_rows_are_gone(self):
        assert self.end(endings.completed("stop", received=True), input_tokens=5, output_tokens=6)

        message = self.message()

        assert (message.status, message.end_reason, message.text) == ("completed", "stop", "It will rain")
        assert message.parts == [{"kind": "reasoning", "text": "Hm."}, {"kind": "text", "text": "It will rain"}]
        assert (message.position, message.end_position, message.cut_position) == (16, 16, None)
        assert message.ended_at
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()
        conversation = Conversation.objects.get()
        assert (conversation.last_status, conversation.input_tokens, conversation.output_tokens) == ("completed", 5, 6)

    def test_only_once(self):
        self.end(endings.stopped("user"))

        assert not self.end(endings.completed("stop", received=True), input_tokens=5)
        assert self.message().status == "stopped"
        assert Conversation.objects.get().input_tokens == 0

    def test_a_cut_ends_the_text_and_not_the_parts(self):
        self.end(endings.stopped("user", 11))
        message = self.message()

        assert (message.text, message.cut_position, message.end_position) == ("It will", 11, 11)
        assert message.parts[1]["text"] == "It will rain"
        assert [event.payload for event in message.events()] == ["Hm.", "It will"]
        assert [event.payload for event in message.events(whole=True)] == ["Hm.", "It will rain"]
        assert message.end_payload()["length"] == 7

    def test_a_cut_past_the_end_is_none_and_one_before_the_start_is_the_start(self):
        self.end(endings.stopped("user", 99))

        assert self.message().cut_position is None

        self.live = make_live(make_conversation(), *self.RECEIVED)
        self.end(endings.stopped("user", 0))

        assert (self.message().cut_position, self.message().text) == (1, "")
