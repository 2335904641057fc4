"""Turns and tools in the form of chat completions."""

from django.test import SimpleTestCase

from streaming_chat.providers.base import Tools, Turn
from streaming_chat.providers.openai_messages import messages_of, tool_parameters

from .test_turns import ASKED, assistant, call, result, text, user

USER = {"role": "user", "content": ASKED.text}
WEATHER = {"name": "weather", "description": "Of a city.", "parameters": {"type": "object"}, "strict": True}


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
        turns = [ASKED, assistant(call("1"), call("2")), user(result("1", "Sunny"), result("2", ""))]

        assert messages_of(turns) == [USER, called("1", "2"), told("1", "Sunny"), told("2", "")]

    def test_what_the_user_says_after_a_result(self):
        after = user(result("1", "Sunny")).followed_by(Turn("user", "Thanks"))

        assert messages_of([ASKED, assistant(text("I look."), call("1")), after]) == [
            USER,
            called("1", content="I look."),
            told("1", "Sunny"),
            {"role": "user", "content": "Thanks"},
        ]

    def test_what_is_not_in_pairs(self):
        assert messages_of([user(result("1", "Sunny")), assistant(call("2"))]) == [{"role": "user", "content": "Sunny"}]


class ToolsTests(SimpleTestCase):
    def test_the_form_of_chat_completions(self):
        tools = [{"type": "function", "function": each} for each in (WEATHER, {"name": "time"})]

        assert tool_parameters(Tools((WEATHER, {"name": "time"}))) == {"tools": tools}

    def test_how_they_may_be_called(self):
        for tools, sent in (
            (Tools((WEATHER,), "required"), {"tool_choice": "required"}),
            (Tools((WEATHER,), "none", parallel=True), {"tool_choice": "none", "parallel_tool_calls": True}),
            (Tools((WEATHER,), parallel=False), {"parallel_tool_calls": False}),
            (
                Tools((WEATHER,), function="weather"),
                {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            ),
        ):
            with self.subTest(sent):
                parameters = tool_parameters(tools)
                del parameters["tools"]

                assert parameters == sent

    def test_no_repr_shows_what_a_client_has_written(self):
        assert repr(Tools((WEATHER,), function="weather")) == "Tools()"
