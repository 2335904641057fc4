"""Turns and tools in the form of the Responses API."""

from django.test import SimpleTestCase

from streaming_chat.providers.base import Tools, Turn
from streaming_chat.providers.openai_items import items_of, tool_parameters

from .test_openai_messages import WEATHER
from .test_turns import ASKED, assistant, call, result, text, user


def message(role, text):
    kind = "input_text" if role == "user" else "output_text"
    return {"role": role, "content": [{"type": kind, "text": text}]}


def called(id):
    return {"type": "function_call", "call_id": id, "name": "weather", "arguments": "{}"}


def told(id, text):
    return {"type": "function_call_output", "call_id": id, "output": text}


class ItemsTests(SimpleTestCase):
    def test_texts(self):
        turns = [Turn("user", "Hi"), Turn("assistant", "Ho"), Turn("user", "\nHi")]

        assert items_of(turns) == [message(turn.role, turn.text) for turn in turns]

    def test_calls_and_results(self):
        after = user(result("1", "Sunny"), result("2", "")).followed_by(Turn("user", "Thanks"))

        assert items_of([ASKED, assistant(text("I look."), call("1"), call("2")), after]) == [
            message("user", ASKED.text),
            message("assistant", "I look."),
            *(called("1"), called("2")),
            *(told("1", "Sunny"), told("2", "")),
            message("user", "Thanks"),
        ]

    def test_what_is_not_in_pairs(self):
        assert items_of([user(result("1", "Sunny")), assistant(call("2"))]) == [message("user", "Sunny")]


class ToolsTests(SimpleTestCase):
    def test_the_flat_form(self):
        """There, strict is the default, and no parameters must be said."""
        assert tool_parameters(Tools((WEATHER, {"name": "time"})))["tools"] == [
            {"type": "function", **WEATHER},
            {"type": "function", "name": "time", "parameters": None, "strict": False},
        ]

    def test_how_they_may_be_called(self):
        for tools, sent in (
            (Tools((WEATHER,)), {}),
            (Tools((WEATHER,), "required", parallel=False), {"tool_choice": "required", "parallel_tool_calls": False}),
            (Tools((WEATHER,), function="weather"), {"tool_choice": {"type": "function", "name": "weather"}}),
        ):
            with self.subTest(sent):
                parameters = tool_parameters(tools)
                del parameters["tools"]

                assert parameters == sent
