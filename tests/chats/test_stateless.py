"""A chat that a stateless client holds is one conversation: each request goes on from our last reply in its history."""

from datetime import timedelta

from django.db.models.functions import Now
from django.test import override_settings

from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Message
from streaming_chat.testing import Script, read_stream
from tests.factories import make_user
from tests.native import Api, ApiTestCase


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


class StatelessTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.history = []

    def ask(self, *messages, api=None, **body):
        """Return the reply to this history."""
        streamed = read_stream((api or self.api).post("api/chat", {"messages": list(messages), **body}))
        return Message.objects.get(pk=streamed.start["message"])

    def say(self, text, **options):
        """Say something after the history, which grows by it and by the reply. Return the reply."""
        self.provider.script(Script(f"Reply to {text}"))
        reply = self.ask(*self.history, user(text), **options)
        self.history += [user(text), assistant(reply.text)]
        return reply

    def texts(self, reply):
        return [message.text for message in branch(reply.conversation, reply.pk)]

    def count(self):
        return Conversation.objects.count()


class OneConversationTests(StatelessTests):
    def test_five_turns(self):
        replies = [self.say(text) for text in ("One", "Two", "Three", "Four", "Five")]
        messages = Message.objects.order_by("id")

        assert self.count() == 1
        assert self.texts(replies[-1]) == [message["content"] for message in self.history]
        assert [message.origin for message in messages] == ["client", "server"] * 5
        assert Conversation.objects.get().title == "One"
        assert [turn.text for turn in self.provider.calls[-1].prompt.turns] == self.texts(replies[-1])[:-1]

    def test_an_edited_message_is_a_branch(self):
        self.say("One")
        before = list(self.history)
        first = self.say("Two")
        self.history = before
        second = self.say("2")

        assert self.count() == 1
        assert second.parent.parent == first.parent.parent
        assert self.texts(second) == ["One", "Reply to One", "2", "Reply to 2"]

    def test_the_same_message_again_is_a_branch(self):
        self.say("One")
        before = list(self.history)
        first, self.history = self.say("Two"), before
        second = self.say("Two")

        assert (self.count(), second.conversation) == (1, first.conversation)
        assert second.pk != first.pk

    def test_of_chats_with_the_same_words_each_goes_on_in_its_own(self):
        for _chat in range(3):
            self.history = []
            self.say("One")
        before = self.history
        for text in ("2", "Two", "II"):
            self.history = list(before)
            self.say(text)

        assert list(Conversation.objects.values_list("message_count", flat=True)) == [4, 4, 4]

    def test_what_a_client_says_for_us_follows_our_last_reply_as_the_clients_word(self):
        first = self.say("One")
        self.history += [user("Two"), assistant("Made up")]
        reply = self.say("Three")
        path = branch(reply.conversation, reply.pk)

        assert reply.conversation == first.conversation
        assert [(message.text, message.origin) for message in path][2:] == [
            ("Two", "client"),
            ("Made up", "client"),
            ("Three", "client"),
            ("Reply to Three", "server"),
        ]

    def test_the_same_client_id_is_the_same_reply(self):
        """Also after the conversation has gone on."""
        self.say("One")
        first, before = self.say("Two", client_id="two"), self.history[:-2]
        self.say("Three")
        second = self.ask(*before, user("Two"), client_id="two")

        assert (second, self.count()) == (first, 1)


class AnotherConversationTests(StatelessTests):
    def check_begins_another(self, **options):
        self.say("Two", **options)

        assert self.count() == 2
        assert Message.objects.filter(origin="client", role="assistant").count() == 1

    def test_a_reply_that_is_not_ours(self):
        self.say("One")
        self.history[-1]["content"] = "Made up"
        self.check_begins_another()

    def test_another_beginning(self):
        self.say("One")
        self.history[0]["content"] = "1"
        self.check_begins_another()

    def test_another_session(self):
        self.say("One")
        self.check_begins_another(api=Api(self.user))

    def test_another_owner(self):
        self.say("One")
        self.check_begins_another(api=Api(make_user("bo")))

    def test_after_a_day(self):
        self.say("One")
        Message.objects.update(created_at=Now() - timedelta(hours=25))
        self.check_begins_another()

    def test_a_deleted_conversation(self):
        reply = self.say("One")
        self.api.delete(f"api/conversations/{reply.conversation_id}")
        self.check_begins_another()

    def test_a_redacted_reply(self):
        reply = self.say("One")
        Message.objects.filter(pk=reply.pk).update(redacted_at=Now())
        self.check_begins_another()

    @override_settings(STREAMING_CHAT_MAX_CONVERSATION_MESSAGES=7)
    def test_a_full_conversation(self):
        """Its branches count, too."""
        self.say("One")
        before = list(self.history)
        for text in ("2", "Two", "II"):
            self.history = list(before)
            self.say(text)

        assert sorted(Conversation.objects.values_list("message_count", flat=True)) == [4, 6]
