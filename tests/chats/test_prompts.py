"""What goes to a provider: the path, cut to the longest prompt, neighbours joined, or what the PROMPT hook says."""

from django.test import override_settings

from streaming_chat.chats.prompts import fit
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from streaming_chat.providers.base import Turn
from streaming_chat.testing import Script
from tests.factories import make_conversation, make_message, make_reply
from tests.native import ApiTestCase, error_of


def shorten(request, conversation, messages):
    """A site's hook: its own system prompt, the last message only."""
    return f"{request.user.get_username()}: {conversation.title}", messages[-1:]


def fill_with_blanks(request, conversation, messages):
    """A site's hook that says nothing, twice."""
    return " \n", [Turn("user", "\t"), *messages, Turn("assistant", "\u200b"), Turn("user", "Well?")]


def refuse(request, conversation, messages):
    """A site's hook that has an objection."""
    raise APIError(422, "invalid", fields={"content": "not on this site."})


class HistoryTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation(system_prompt="Be brief.")

    def turns(self, content="And now?"):
        """Send, and return what the provider was asked."""
        self.reply = self.api.reply(content, self.conversation)
        return [(turn.role, turn.text) for turn in self.provider.calls[-1].prompt.turns]

    def test_the_path_from_the_root(self):
        make_reply(self.conversation, "Yes.")

        assert self.turns() == [("user", "Will it rain?"), ("assistant", "Yes."), ("user", "And now?")]
        assert self.provider.calls[0].prompt.system == "Be brief."
        assert self.provider.calls[0].prompt.options.max_output_tokens == 16_384
        assert self.reply.omitted_messages == 0

    def test_a_message_is_listed_before_its_reply(self):
        """Both are written in one statement, at one time."""
        for number in range(5):
            self.api.send(f"Message {number}", self.conversation)
        listed = self.api.get(f"api/conversations/{self.conversation.pk}/messages").json()["results"]

        assert [message["role"] for message in listed] == ["user", "assistant"] * 5

    def test_other_branches_are_left_out(self):
        question = make_message(self.conversation)
        make_reply(self.conversation, "Never.", parent=question)
        make_reply(self.conversation, "Yes.", parent=question)

        assert ("assistant", "Never.") not in self.turns()

    def test_a_reply_without_text_is_left_out_and_its_neighbours_joined(self):
        make_reply(self.conversation, "", status="failed", error_code="provider_auth")

        assert self.turns() == [("user", "Will it rain?\n\nAnd now?")]

    def test_blank_texts_are_left_out(self):
        """Anthropic's API rejects a conversation for good that has one."""
        Conversation.objects.update(system_prompt="\n")
        make_message(self.conversation, " \n")
        make_reply(self.conversation, "\u200b", status="failed", error_code="empty")
        make_message(self.conversation, "Hello?")
        make_reply(self.conversation, "\t", status="stopped", end_reason="user")

        assert self.turns() == [("user", "Hello?\n\nAnd now?")]
        assert self.provider.calls[0].prompt.system == ""

    @override_settings(STREAMING_CHAT_PROMPT=f"{__name__}.fill_with_blanks")
    def test_so_are_those_of_a_hook(self):
        assert self.turns() == [("user", "And now?\n\nWell?")]
        assert self.provider.calls[0].prompt.system == ""

    def test_a_partial_reply_goes_along_to_its_cut(self):
        make_reply(self.conversation, "Yes, and a lot", status="stopped", end_reason="user", cut_position=5)

        assert self.turns()[1] == ("assistant", "Yes,")

    def test_reasoning_stays_here(self):
        parts = [{"kind": "reasoning", "text": "Hm."}, {"kind": "text", "text": "Yes."}]
        make_reply(self.conversation, parts=parts)

        assert self.turns()[1] == ("assistant", "Yes.")

    def test_parts_other_than_text_go_along_to_the_cut(self):
        """A kind that this version does not know, too."""
        parts = [
            {"kind": "text", "text": "Look: "},
            {"kind": "tool_call", "id": "1", "name": "weather", "arguments": "{}", "complete": True},
            {"kind": "hologram", "size": 3},
            {"kind": "text", "text": "Rain."},
        ]
        make_reply(self.conversation, parts=parts, status="stopped", end_reason="user", cut_position=10)
        self.turns()
        turn = self.provider.calls[-1].prompt.turns[1]

        assert turn.parts == (*parts[:3], {"kind": "text", "text": "R"})
        assert turn.text == "Look: R"

    def test_a_reply_with_a_tool_call_keeps_it_for_the_next_prompt(self):
        self.provider.script(Script(["Look: "], tool_calls=[("weather", "{}")]))
        reply = self.api.reply("Will it rain?")
        self.api.send("And now?", reply.conversation)
        turns = self.provider.calls[-1].prompt.turns

        assert [[part["kind"] for part in turn.parts] for turn in turns] == [["text"], ["text", "tool_call"], ["text"]]

    def test_the_oldest_turns_are_left_out_whole(self):
        self.provider.max_prompt_chars = 20
        make_reply(self.conversation, "1234")
        make_message(self.conversation, "5678")
        make_reply(self.conversation, "90")

        assert self.turns("abcdef") == [("user", "5678"), ("assistant", "90"), ("user", "abcdef")]
        assert self.reply.omitted_messages == 2

    def test_the_arguments_of_a_call_count(self):
        """Where the length of what is stored is not known: in a fallback, and in what a hook says."""
        call = {"kind": "tool_call", "id": "1", "name": "weather", "arguments": "x" * 20, "complete": True}
        turns = [Turn("user", "a"), Turn("assistant", [call]), Turn("user", "b")]

        assert fit(turns, 22) == (turns, 0)
        assert fit(turns, 20) == (turns[2:], 2)

    def test_a_prompt_does_not_begin_with_a_reply(self):
        self.provider.max_prompt_chars = 12
        make_reply(self.conversation, "1234")

        assert self.turns("abcdef") == [("user", "abcdef")]
        assert self.reply.omitted_messages == 2

    def test_the_last_message_always_goes(self):
        self.provider.max_prompt_chars = 3
        assert self.turns("abcdef") == [("user", "abcdef")]

    @override_settings(STREAMING_CHAT_PROMPT=f"{__name__}.shorten")
    def test_a_hook_says_what_goes(self):
        make_reply(self.conversation, "Yes.")

        assert self.turns() == [("user", "And now?")]
        assert self.provider.calls[0].prompt.system == "ana: Rain in Lisbon"
        assert Message.objects.filter(conversation=self.conversation).count() == 4

    @override_settings(STREAMING_CHAT_PROMPT=f"{__name__}.refuse")
    def test_a_hook_may_refuse_and_nothing_is_written(self):
        response = self.api.post("api/messages", {"content": "Hi"})

        assert (response.status_code, list(error_of(response)["fields"])) == (422, ["content"])
        assert not Message.objects.exists()
