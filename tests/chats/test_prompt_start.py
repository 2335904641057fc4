"""Where a prompt begins: with the same message for many turns, so that a provider's cache has what it begins with."""

from streaming_chat.models import Message
from streaming_chat.testing import Script
from tests.factories import make_conversation, make_message, make_reply
from tests.native import ApiTestCase


class PromptStartTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        self.provider.max_prompt_chars = 100

    def first(self, content="q" * 5, **body):
        """Send, and return the first text that the provider was asked."""
        self.reply = self.api.reply(content, self.conversation, **body)
        return self.provider.calls[-1].prompt.turns[0].text

    def add_turns(self, numbers, length=10):
        for number in numbers:
            make_message(self.conversation, f"question {number:02}".ljust(length, "."))
            make_reply(self.conversation, "a" * length)

    def test_a_branch_that_fits_begins_with_its_first_message(self):
        self.add_turns(range(4), length=11)

        assert self.first() == "question 00"
        assert self.reply.omitted_messages == 0

    def test_one_that_is_too_long_is_cut_to_60_percent(self):
        self.add_turns(range(5), length=11)

        assert self.first() == "question 03"
        assert self.reply.omitted_messages == 6

    def test_the_next_prompts_begin_with_the_same_message_until_they_are_too_long(self):
        self.add_turns(range(5), length=11)
        self.provider.script(*[Script(["a" * 5])] * 8)

        firsts = [self.first() for _turn in range(8)]
        assert firsts == ["question 03"] * 6 + ["q" * 5] * 2
        assert [reply.omitted_messages for reply in self.replies()] == [6] * 6 + [12] * 2

    def test_a_failed_reply_does_not_move_it(self):
        self.add_turns(range(5), length=11)
        self.first()
        make_reply(self.conversation, "", status="failed", error_code="provider_auth", omitted_messages=6)

        assert self.first() == "question 03"

    def test_a_reply_that_is_written_again_gets_the_same_prompt(self):
        self.add_turns(range(5), length=11)
        self.first()
        sent = self.provider.calls[-1].prompt.turns
        self.api.post(f"api/messages/{self.reply.pk}/regenerate")

        assert self.provider.calls[-1].prompt.turns == sent

    def test_a_model_that_takes_more_gets_more(self):
        self.add_turns(range(5), length=11)
        self.first()
        self.provider.max_prompt_chars = 1_000

        assert self.first() == "question 00"
        assert self.reply.omitted_messages == 0

    def test_a_model_that_takes_less_gets_less(self):
        self.add_turns(range(4), length=11)
        self.first()
        self.provider.max_prompt_chars = 80

        assert self.first() == "question 03"

    def test_so_many_messages_are_a_limit_too(self):
        self.provider.max_prompt_chars = 100_000
        self.add_turns(range(250), length=11)

        assert [self.first() for _turn in range(3)] == ["question 101"] * 3

    def test_a_long_last_message_is_sent_alone(self):
        self.add_turns(range(4), length=11)

        assert self.first("x" * 200) == "x" * 200

    def test_parts_that_go_along_count(self):
        """As in the query that loads the history: else each prompt would begin where that query ends."""
        call = {"kind": "tool_call", "id": "1", "name": "weather", "arguments": "{}", "complete": True}
        self.provider.max_prompt_chars = 1_000
        for number in range(9):
            make_message(self.conversation, f"question {number}")
            make_reply(self.conversation, parts=[call, {"kind": "text", "text": "Rain."}])
        firsts = {self.first("?") for _turn in range(10)}

        assert len(firsts) == 1
        assert self.reply.omitted_messages > 0

    def test_the_history_of_a_stateless_client_is_cut_at_the_same_message_too(self):
        """Nothing is stored of its last prompt."""
        messages = [
            {"role": role, "content": f"{role} {number:02}"} for number in range(9) for role in ("user", "assistant")
        ]
        firsts = []
        for _turn in range(4):
            messages.append({"role": "user", "content": "?"})
            self.api.post("api/chat", {"messages": messages})
            firsts.append(self.provider.calls[-1].prompt.turns[0].text)
            messages.append({"role": "assistant", "content": "!"})

        assert len(set(firsts)) == 1
        assert firsts[0] != "user 00"

    def replies(self):
        return Message.objects.filter(conversation=self.conversation, role="assistant").order_by("depth")[5:]
