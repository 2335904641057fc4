"""Saved events of a reply."""

from django.test import TestCase

from streaming_chat.models import ReplyEvent
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live


class StreamTests(TestCase):
    def test_saved_events_are_merged_in_order(self):
        saved = [Event("reasoning", "Hm."), Event("text", "It "), Event("text", "rains")]
        live = make_live(make_conversation(), *saved)

        assert [event.payload for event in ReplyEvent.objects.stream(live.pk)] == ["Hm.", "It rains"]
