"""Saved events of a reply."""

from django.test import TestCase

from streaming_chat.models import ReplyEvent
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live


class StreamTests(TestCase):
    def stream(self, position):
        saved = [Event("reasoning", "Hm."), Event("text", "It "), Event("text", "rains")]
        live = make_live(make_conversation(), *saved, slot=position)
        return [event.payload for event in ReplyEvent.objects.stream(live.pk, position)]

    def test_the_rest_from_a_position_is_merged(self):
        assert self.stream(1) == ["Hm.", "It rains"]
        assert self.stream(2) == ["m.", "It rains"]
        assert self.stream(4) == ["It rains"]
        assert self.stream(8) == ["ains"]
        assert self.stream(12) == []
