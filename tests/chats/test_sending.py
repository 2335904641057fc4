"""Sending a message, where others are in the way."""

from django.test import RequestFactory, TestCase, override_settings

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.sending import send
from streaming_chat.db.leases import lease_judge
from streaming_chat.exceptions import APIError
from streaming_chat.models import LiveReply, Message
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.testing import scripted_provider
from tests.factories import make_conversation, make_live, make_steady, make_user


@scripted_provider()
@override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1)
class SendTests(TestCase):
    def setUp(self):
        self.addCleanup(lease_judge.reset)
        self.user = make_user()
        self.conversation = make_conversation()

    def send(self, **fields):
        request = RequestFactory().post("/")
        request.user = self.user
        send_request = SendRequest(content="Hi", conversation_id=self.conversation.pk, **fields)
        return send(request, Owner(self.user, user_key(self.user)), send_request, "me")

    def test_the_reply_of_a_dead_worker_is_ended_first(self):
        dead = make_live(self.conversation, Event(TEXT, "Hel"), expires=-1)
        make_steady()
        with self.assertLogs("streaming_chat", "WARNING"):
            sent = self.send()

        assert Message.objects.get(pk=dead.pk).end_reason == "lease_expired"
        assert LiveReply.objects.get().pk == sent.message_id

    def test_the_reply_of_a_living_worker_is_not(self):
        make_live(self.conversation)
        make_steady()
        with self.assertRaises(APIError) as raised:
            self.send()

        assert raised.exception.code == "reply_in_progress"

    def test_a_repeated_send_finds_its_reply_and_starts_no_run(self):
        first = self.send(client_id="a")
        second = self.send(client_id="a")

        assert second.message_id == first.message_id
        assert (first.order is None, second.order is None) == (False, True)
