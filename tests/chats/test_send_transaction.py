"""One attempt to send: it refuses, or inserts everything that belongs to a reply."""

import uuid

from django.db import connection
from django.test import RequestFactory, TestCase, override_settings

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.send_transaction import SendTransaction
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, LiveReply, Message
from streaming_chat.providers.base import Turn
from streaming_chat.testing import scripted_provider
from tests.factories import make_conversation, make_live, make_reply, make_user


@scripted_provider()
class SendTransactionTests(TestCase):
    def setUp(self):
        self.user = make_user()
        self.request = RequestFactory().post("/")
        self.request.user = self.user

    def attempt(self, **fields):
        owner = Owner(self.user, user_key(self.user))
        return SendTransaction(self.request, owner, SendRequest(**fields), "me", connection.alias)

    def refused(self, action):
        with self.assertRaises(APIError) as raised:
            action()
        return raised.exception.code

    def test_a_new_conversation(self):
        attempt = self.attempt(content="Will it rain?")
        sent = attempt.write()
        conversation = Conversation.objects.get()
        reply = Message.objects.get(pk=sent.message_id)

        assert (conversation.title, conversation.message_count) == ("Will it rain?", 2)
        assert conversation.head_id == reply.pk == attempt.message_id
        assert (reply.parent.text, reply.status) == ("Will it rain?", "streaming")
        assert LiveReply.objects.get().worker == "me"
        assert sent.order.start == reply.start_payload()
        assert [turn.text for turn in sent.order.prompt.turns] == ["Will it rain?"]

    def test_an_attempt_that_was_undone_is_made_again_with_the_same_ids(self):
        """After a deadlock it is called a second time."""
        attempt = self.attempt(content="Will it rain?")
        first = attempt.write()
        ids = set(Message.objects.values_list("pk", flat=True))
        LiveReply.objects.all().delete()
        Conversation.objects.all().delete()
        second = attempt.write()

        assert first.message_id == second.message_id
        assert set(Message.objects.values_list("pk", flat=True)) == ids

    def test_a_stored_conversation(self):
        conversation = make_conversation()
        make_reply(conversation)
        self.attempt(content="And now?", conversation_id=conversation.pk).write()
        conversation.refresh_from_db()

        assert (conversation.message_count, conversation.last_status) == (4, "streaming")

    @override_settings(STREAMING_CHAT_MAX_CONVERSATION_MESSAGES=4)
    def test_a_conversation_has_a_maximum_length(self):
        """With all its branches: one message may be answered again and again."""
        conversation = make_conversation()
        reply = make_reply(conversation)
        again = {"regenerate": reply.pk, "conversation_id": conversation.pk}
        self.attempt(**again).write()
        LiveReply.objects.all().delete()

        assert self.refused(self.attempt(content="Hi", conversation_id=conversation.pk).write) == "conversation_full"
        self.attempt(**again).write()
        LiveReply.objects.all().delete()
        assert self.refused(self.attempt(**again).write) == "conversation_full"
        assert self.refused(self.attempt(content="Hi", earlier=[Turn("user", "Hi")] * 3).check) == "conversation_full"
        conversation.refresh_from_db()
        assert conversation.message_count == conversation.messages.count() == 4

    def test_what_was_left_out_is_counted_without_being_loaded(self):
        conversation = make_conversation()
        for number in range(3):
            make_reply(conversation, str(number))
        with scripted_provider() as provider:
            provider.max_prompt_chars = 20
            sent = self.attempt(content="And now?", conversation_id=conversation.pk).write()

        assert [turn.text for turn in sent.order.prompt.turns] == ["And now?"]
        reply = Message.objects.get(pk=sent.message_id)
        assert (reply.omitted_messages, reply.depth) == (6, 7)

    def test_what_is_refused(self):
        busy = make_conversation()
        make_live(busy)
        foreign = make_conversation(make_user("ben"))

        assert self.refused(self.attempt(content="Hi", conversation_id=busy.pk).write) == "reply_in_progress"
        assert self.refused(self.attempt(content="Hi", conversation_id=foreign.pk).write) == "not_found"
        assert self.refused(self.attempt(content="Hi", model="other:model").check) == "invalid"
        assert self.refused(self.attempt(content="Hi", parent=uuid.UUID(int=7)).check) == "invalid"
