"""The messages that a new reply comes after."""

from uuid import UUID

from django.test import TestCase, override_settings

from streaming_chat.chats.history import new_messages, stored_messages
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.providers.base import Turn
from tests.factories import make_conversation, make_message, make_reply


class StoredTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation()
        self.first = make_reply(self.conversation)
        self.second = make_reply(self.conversation)

    def stored(self, **fields):
        request = SendRequest(conversation_id=self.conversation.pk, **fields)
        return [message.pk for message in stored_messages(self.conversation, request, 1_000)]

    def test_without_a_parent_it_is_the_branch_in_view(self):
        path = [self.first.parent_id, self.first.pk, self.second.parent_id, self.second.pk]

        assert self.stored() == path

    def deferred(self):
        messages = stored_messages(self.conversation, SendRequest(conversation_id=self.conversation.pk), 1_000)
        return [message.get_deferred_fields() for message in messages]

    def test_parts_are_read_only_where_there_is_more_than_text(self):
        parts = [{"kind": "text", "text": "Look:"}, {"kind": "tool_call", "name": "weather", "id": "1"}]
        self.second.parts, self.second.has_more_than_text = parts, True
        self.second.save()
        with self.assertNumQueries(2):
            *others, last = stored_messages(self.conversation, SendRequest(conversation_id=self.conversation.pk), 1_000)

        assert all("parts" in message.get_deferred_fields() for message in others)
        assert "parts" in last.__dict__
        assert last.parts == parts
        assert others[1].parts == self.first.parts

    def test_parts_that_are_read_count(self):
        parts = [{"kind": "tool_call", "name": "weather", "arguments": "m" * 1_000}]
        Message.objects.filter(pk=self.first.pk).update(parts=parts, has_more_than_text=True)

        assert self.stored() == [self.second.parent_id, self.second.pk]

    def test_only_what_a_prompt_needs_is_read(self):
        """Of a long conversation, this is most of what a send reads."""
        for columns in self.deferred():
            assert {"parts", "created_at", "body_digest"} <= columns
            assert not columns & {"has_more_than_text", "text", "role", "depth", "page_context"}

    @override_settings(STREAMING_CHAT_PROMPT="tests.chats.test_prompts.hook")
    def test_a_prompt_of_the_site_has_all_but_the_parts(self):
        assert self.deferred() == [{"parts"}] * 4

    def test_a_parent_begins_another_branch(self):
        assert self.stored(parent=self.first.pk) == [self.first.parent_id, self.first.pk]
        assert self.stored(parent=None) == []

    def test_a_regeneration_comes_after_the_message_that_was_replied_to(self):
        assert self.stored(regenerate=self.first.pk) == [self.first.parent_id]

    def test_a_parent_is_a_reply_of_this_conversation(self):
        other = make_reply(make_conversation())
        for parent in (other.pk, self.first.parent_id):
            with self.subTest(parent=parent), self.assertRaises(APIError) as raised:
                self.stored(parent=parent)

            assert list(raised.exception.fields) == ["parent"]

    def test_a_reply_to_nothing_cannot_be_written_again(self):
        root = make_message(self.conversation, "Hello!", role=Message.Role.ASSISTANT, parent=None)
        with self.assertRaises(APIError) as raised:
            self.stored(regenerate=root.pk)

        assert list(raised.exception.fields) == ["id"]


class NewTests(TestCase):
    def test_the_turns_of_a_stateless_client_follow_each_other(self):
        request = SendRequest(content="Three", earlier=[Turn("user", "One"), Turn("assistant", "Two")], stateless=True)
        ids = [UUID(int=number) for number in (1, 2, 3)]
        messages = new_messages(make_conversation(), request, ids, None)

        assert [(message.role, message.text) for message in messages] == [
            ("user", "One"), ("assistant", "Two"), ("user", "Three"),
        ]  # fmt: skip
        assert [message.parent_id for message in messages] == [None, *ids[:2]]
        assert [message.depth for message in messages] == [0, 1, 2]
        assert {message.origin for message in messages} == {Message.Origin.CLIENT}
