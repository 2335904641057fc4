"""Turns as messages of chat completions: a client's tool calls and their results go along if both are there."""

from django.test import SimpleTestCase

from streaming_chat.providers.base import Turn
from streaming_chat.providers.openai_messages import messages_of

ASKED = Turn("user", "Weather in Rome and Oslo?")
USER = {"role": "user", "content": "Weather in Rome and Oslo?"}


def call(id):
    return {"kind": "tool_call", "id": id, "name": "weather", "arguments": "{}", "complete": True}


def result(id, text):
    return Turn("user", [{"kind": "tool_result", "id": id, "text": text}])


def called(*ids, content=None):
    calls = [{"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for id in ids]  # noqa: A001
    return {"role": "assistant", "content": content, "tool_calls": calls}


def told(id, text):
    return {"role": "tool", "tool_call_id": id, "content": text}


class MessagesTests(SimpleTestCase):
    def test_texts(self):
        turns = [Turn("user", "Hi"), Turn("assistant", "Ho"), Turn("user", "\nHi")]

        assert messages_of(turns) == [{"role": turn.role, "content": turn.text} for turn in turns]

    def test_calls_and_results(self):
        results = result("1", "Sunny").followed_by(result("2", ""))

        assert messages_of([ASKED, Turn("assistant", [call("1"), call("2")]), results]) == [
            USER,
            called("1", "2"),
            told("1", "Sunny"),
            told("2", ""),
        ]

    def test_what_the_user_says_after_a_result(self):
        after = result("1", "Sunny").followed_by(Turn("user", "Thanks"))
        reply = Turn("assistant", [{"kind": "text", "text": "I look."}, call("1")])

        assert messages_of([ASKED, reply, after]) == [
            USER,
            called("1", content="I look."),
            told("1", "Sunny"),
            {"role": "user", "content": "Thanks"},
        ]

    def test_a_call_without_a_result_is_left_out(self):
        assert messages_of([ASKED, Turn("assistant", [call("1")]), Turn("user", "Never mind")]) == [
            USER,
            {"role": "user", "content": "Never mind"},
        ]

    def test_a_result_without_its_call_is_the_users_text(self):
        assert messages_of([result("1", "Sunny")]) == [{"role": "user", "content": "Sunny"}]
