"""How the reply of a dead worker is ended."""

from django.test import TestCase

from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import LiveReply, Message
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live


class RecoveryTests(TestCase):
    def recovered(self, *saved, **fields):
        live = make_live(make_conversation(), *saved, **{"expires": -1, **fields})
        return recover_reply(live), Message.objects.get(pk=live.pk)

    def test_what_was_saved_is_kept(self):
        done, message = self.recovered(Event("text", "It "), Event("text", "rains"))

        assert done
        assert (message.status, message.end_reason, message.error_code, message.text) == (
            "interrupted",
            "lease_expired",
            "lease_expired",
            "It rains",
        )
        assert message.parts == [{"kind": "text", "text": "It rains"}]

    def test_nothing_saved_is_a_failure(self):
        _done, message = self.recovered()

        assert (message.status, message.end_reason, message.error_code) == ("failed", "", "lease_expired")

    def test_a_stop_that_was_asked_for_holds(self):
        _done, message = self.recovered(Event("text", "It rains"), stop="user", stop_position=3)

        assert (message.status, message.end_reason, message.text) == ("stopped", "user", "It")

    def test_a_stop_that_was_asked_for_meanwhile_holds(self):
        """Its owner may stop it after a process has found it and before that process ends it."""
        live = make_live(make_conversation(), Event("text", "It rains"), expires=-1)
        LiveReply.objects.request_stop("user", 3)
        recovered = recover_reply(live)
        message = Message.objects.get(pk=live.pk)

        assert recovered
        assert (message.status, message.end_reason, message.text) == ("stopped", "user", "It")

    def test_a_living_workers_reply_is_left_alone(self):
        done, message = self.recovered(Event("text", "It"), expires=60)

        assert not done
        assert message.status == "streaming"
        assert LiveReply.objects.exists()

    def test_it_is_recovered_once(self):
        live = make_live(make_conversation(), expires=-1)

        assert [recover_reply(live), recover_reply(live)] == [True, False]
