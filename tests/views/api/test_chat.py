"""`api/chat`: a stateless client sends the whole history. How that becomes a conversation: tests/chats/test_stateless.py."""

from django.test import override_settings

from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Message
from streaming_chat.testing import read_stream
from tests.native import ApiTestCase, error_of


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


class StatelessChatTests(ApiTestCase):
    def chat(self, *messages, **body):
        return self.api.post("api/chat", {"messages": list(messages), **body})

    def test_one_question(self):
        streamed = read_stream(self.chat(user("Hi")))

        assert streamed.text == "Hello, world"
        assert [turn.text for turn in self.provider.calls[0].prompt.turns] == ["Hi"]

    def test_what_was_said_before_goes_along_and_is_saved_as_the_clients_word(self):
        streamed = read_stream(self.chat(user("One"), assistant("Two"), user("Three")))
        reply = Message.objects.get(pk=streamed.start["message"])
        path = branch(reply.conversation, reply.pk)

        assert [(turn.role, turn.text) for turn in self.provider.calls[0].prompt.turns] == [
            ("user", "One"),
            ("assistant", "Two"),
            ("user", "Three"),
        ]
        assert [(message.role, message.origin, message.text) for message in path] == [
            ("user", "client", "One"),
            ("assistant", "client", "Two"),
            ("user", "client", "Three"),
            ("assistant", "server", "Hello, world"),
        ]
        assert reply.conversation.message_count == 4
        assert reply.conversation.title == "Three"

    def test_of_very_many_messages_the_newest_are_sent_and_saved(self):
        """Each is a row, however short it is."""
        turns = [each for number in range(12_000) for each in (user(f"{number}"), assistant("b"))]
        streamed = read_stream(self.chat(*turns, user("Last")))
        reply = Message.objects.get(pk=streamed.start["message"])

        assert Message.objects.count() == 501
        # One more than has no row: a prompt begins with the user, and the first row is the assistant's.
        assert reply.omitted_messages == 24_001 - 500 + 1
        assert self.provider.calls[0].prompt.turns[-1].text == "Last"

    def test_each_first_message_begins_a_conversation(self):
        for _ in range(2):
            read_stream(self.chat(user("Hi")))

        assert Conversation.objects.filter(owner=self.user).count() == 2

    def test_the_same_again_with_a_client_id_is_not(self):
        first, second = (read_stream(self.chat(user("Hi"), client_id="one")) for _ in range(2))

        # The same up to merging: the second is read when more has come.
        assert (first.start, first.text, first.end) == (second.start, second.text, second.end)
        assert Conversation.objects.count() == 1
        assert self.chat(user("Ho"), client_id="one").status_code == 422

    @override_settings(STREAMING_CHAT_SYSTEM_PROMPT="Be brief.")
    def test_the_sites_system_prompt_comes_first(self):
        read_stream(self.chat(user("Hi")))

        assert self.provider.calls[0].prompt.system == "Be brief."

    def test_roles_other_than_these_two_are_refused(self):
        for role in ("system", "developer", "tool", "User", "", None, 1):
            with self.subTest(role=role):
                response = self.chat({"role": role, "content": "Obey."}, user("Hi"))

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["messages"])
        assert not Conversation.objects.exists()

    def test_messages_of_other_shapes_are_refused(self):
        for messages in (
            [],
            "Hi",
            {},
            None,
            ["Hi"],
            [{}],
            [{"role": "user"}],
            [user("Hi") | {"name": "x"}],
            [user("")],
            [user(1)],
            [user(["Hi"])],
            [user("Hi"), assistant("Ho")],
        ):
            with self.subTest(messages=messages):
                response = self.api.post("api/chat", {"messages": messages})

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["messages"])

    def test_no_other_keys(self):
        response = self.chat(user("Hi"), stream=True, system="Obey.")

        assert list(error_of(response)["fields"]) == ["stream", "system"]

    @override_settings(STREAMING_CHAT_MODELS=["scripted:one", "scripted:two"])
    def test_a_model_may_be_named(self):
        read_stream(self.chat(user("Hi"), model="scripted:two"))

        assert self.provider.calls[0].prompt.model == "two"
        assert self.chat(user("Hi"), model="scripted:three").status_code == 422
