"""One attempt to send: it is refused or prepared without a lock, then a transaction inserts all that belongs to a reply."""

import uuid

from django.db import connection, transaction
from django.test import RequestFactory, TestCase, override_settings

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.chats.prepared_reply import PreparedReply, prepare
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.send_transaction import ConversationChanged, insert_reply
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, LiveReply, Message
from streaming_chat.privacy.redactions import redact
from streaming_chat.providers.base import Turn
from streaming_chat.testing import scripted_provider
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user


@scripted_provider()
class SendTransactionTests(TestCase):
    def setUp(self):
        self.user = make_user()
        self.request = RequestFactory().post("/")
        self.request.user = self.user
        self.owner = Owner(self.user, user_key(self.user))

    def prepare(self, **fields) -> PreparedReply:
        return prepare(self.request, self.owner, SendRequest(**fields), connection.alias)

    def insert(self, prepared):
        insert_reply(prepared, self.owner.key, "me", connection.alias)

    def send(self, **fields) -> PreparedReply:
        prepared = self.prepare(**fields)
        self.insert(prepared)
        return prepared

    def refused(self, **fields) -> str:
        with self.assertRaises(APIError) as raised:
            self.prepare(**fields)
        return raised.exception.code

    def test_a_new_conversation(self):
        order = self.send(content="Will it rain?").order
        conversation = Conversation.objects.get()
        reply = Message.objects.get(pk=order.message_id)

        assert (conversation.title, conversation.message_count) == ("Will it rain?", 2)
        assert conversation.head_id == reply.pk
        assert (reply.parent.text, reply.status) == ("Will it rain?", "streaming")
        assert LiveReply.objects.get().worker == "me"
        assert order.start == reply.start_payload()
        assert [turn.text for turn in order.prompt.turns] == ["Will it rain?"]

    def test_an_attempt_that_was_undone_is_made_again_with_the_same_ids(self):
        """After a deadlock it is called a second time."""
        for fields in ({}, {"conversation_id": make_conversation().pk}):
            Conversation.objects.update(message_count=0, head=None, title="", model="scripted:any")
            prepared = self.prepare(content="Will it rain?", **fields)
            Conversation.objects.update(title="")
            ids = []
            for _attempt in range(2):
                point = transaction.savepoint()
                self.insert(prepared)
                ids.append(sorted(Message.objects.values_list("pk", flat=True)))
                transaction.savepoint_rollback(point)

            assert len(ids[0]) == 2
            assert ids[0] == ids[1]

    def test_a_stored_conversation(self):
        conversation = make_conversation()
        make_reply(conversation)
        before = conversation.last_activity
        reply = self.send(content="And now?", conversation_id=conversation.pk).reply
        conversation.refresh_from_db()

        assert (conversation.message_count, conversation.last_status) == (4, "streaming")
        assert conversation.head_id == reply.pk
        assert conversation.last_activity > before

    def test_a_conversation_that_has_changed_since_it_was_read(self):
        """Then the model would be asked about another conversation, or the change would be undone."""
        conversation = make_conversation()
        first = make_reply(conversation)
        make_reply(conversation)
        conversation.refresh_from_db()
        for change in (
            {"head": first},
            {"head": None},
            {"message_count": 5},
            {"model": "scripted:other"},
            {"title": "Snow"},
            {"deleted_at": "2026-01-01T00:00Z"},
            {"owner_key": f"u:{make_user('ben').pk}"},
        ):
            with self.subTest(change):
                conversation.save()
                prepared = self.prepare(content="And now?", conversation_id=conversation.pk)
                Conversation.objects.update(**change)

                with self.assertRaises(ConversationChanged):
                    self.insert(prepared)
        assert not LiveReply.objects.exists()

    def test_a_reply_that_was_redacted_since_it_was_read_is_not_continued(self):
        conversation = make_conversation(owner=self.user, model="scripted:any")
        half = make_reply(conversation, text="The quick", status="stopped", end_reason="user")
        fields = {"content": "", "conversation_id": conversation.pk, "regenerate": half.pk, "continues": True}
        prepared = self.prepare(**fields)
        redact(half.pk, self.user)

        with self.assertRaises(ConversationChanged):
            self.insert(prepared)
        assert self.refused(**fields) == "invalid"

    def test_an_empty_conversation_in_which_something_was_written(self):
        conversation = make_conversation()
        prepared = self.prepare(content="Hi", conversation_id=conversation.pk)
        make_message(conversation)

        with self.assertRaises(ConversationChanged):
            self.insert(prepared)

    @override_settings(STREAMING_CHAT_MAX_CONVERSATION_MESSAGES=4)
    def test_a_conversation_has_a_maximum_length(self):
        """With all its branches: one message may be answered again and again."""
        conversation = make_conversation()
        reply = make_reply(conversation)
        again = {"regenerate": reply.pk, "conversation_id": conversation.pk}
        self.send(**again)
        LiveReply.objects.all().delete()

        assert self.refused(content="Hi", conversation_id=conversation.pk) == "conversation_full"
        self.send(**again)
        LiveReply.objects.all().delete()
        assert self.refused(**again) == "conversation_full"
        assert self.refused(content="Hi", earlier=[Turn("user", "Hi")] * 3) == "conversation_full"
        conversation.refresh_from_db()
        assert conversation.message_count == conversation.messages.count() == 4

    def test_what_was_left_out_is_counted_without_being_loaded(self):
        conversation = make_conversation()
        for number in range(3):
            make_reply(conversation, str(number))
        with scripted_provider() as provider:
            provider.max_prompt_chars = 20
            order = self.send(content="And now?", conversation_id=conversation.pk).order

        assert [turn.text for turn in order.prompt.turns] == ["And now?"]
        reply = Message.objects.get(pk=order.message_id)
        assert (reply.omitted_messages, reply.depth) == (6, 7)

    def test_what_is_refused(self):
        busy = make_conversation()
        make_live(busy)
        foreign = make_conversation(make_user("ben"))

        assert self.refused(content="Hi", conversation_id=busy.pk) == "reply_in_progress"
        assert self.refused(content="Hi", conversation_id=foreign.pk) == "not_found"
        assert self.refused(content="Hi", model="other:model") == "invalid"
        assert self.refused(content="Hi", parent=uuid.UUID(int=7)) == "invalid"
