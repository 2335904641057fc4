"""Turns and tools in the form of Anthropic's messages API."""

from django.test import SimpleTestCase

from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.anthropic_messages import messages_of, tool_parameters
from streaming_chat.providers.base import Prompt, RunContext, Tools, Turn
from streaming_chat.providers.model_options import ModelOptions

from .test_openai_messages import WEATHER
from .test_turns import ASKED, assistant, call, result, text, user


def used(id="1", name="weather", **input):
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def told(id, text):
    return {"type": "tool_result", "tool_use_id": id, "content": text}


def parameters(*functions, turns=(), **tools):
    return tool_parameters(Prompt(turns=turns, tools=Tools(functions, **tools) if functions else None))


class MessagesTests(SimpleTestCase):
    def test_texts(self):
        turns = [Turn("user", "Hi"), Turn("assistant", "Ho"), Turn("user", "\nHi")]

        assert messages_of(turns) == [{"role": turn.role, "content": turn.text} for turn in turns]

    def test_calls_and_results(self):
        """Results come first, whatever is said with them."""
        after = Turn("user", "Thanks").followed_by(user(result("1", "Sunny"), result("2", "")))

        assert messages_of([ASKED, assistant(call("1"), text("I look."), call("2")), after]) == [
            {"role": "user", "content": ASKED.text},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, used("1"), used("2")]},
            {"role": "user", "content": [told("1", "Sunny"), told("2", ""), {"type": "text", "text": "Thanks"}]},
        ]

    def test_a_blank_text_beside_a_call(self):
        """The API refuses it."""
        turns = messages_of([ASKED, assistant(text("\n\n"), call("1")), user(result("1", "Sunny"))])

        assert turns[1]["content"] == [used("1")]

    def test_arguments_are_an_object(self):
        for arguments, value in (
            ('{"city": "Köln"}', {"city": "Köln"}),
            ('{"city": ', {"INVALID_JSON": '{"city": '}),
            ("[1]", {"INVALID_JSON": "[1]"}),
            # No JSON, but some models write it: a request with it could not be sent, ever again.
            ('{"degrees": NaN}', {"INVALID_JSON": '{"degrees": NaN}'}),
            ('{"degrees": 1e999}', {"INVALID_JSON": '{"degrees": 1e999}'}),
            ("", {}),
        ):
            called = assistant({**call("1"), "arguments": arguments})

            assert messages_of([ASKED, called, user(result("1", ""))])[1]["content"] == [used("1", **value)]

    def test_ids_and_names_of_another_provider(self):
        called = assistant({**call("functions.weather:0"), "name": "functions.weather"})
        turns = messages_of([ASKED, called, user(result("functions.weather:0", "Sunny"))])

        assert turns[1]["content"] == [used("functions_weather_0", "functions_weather")]
        assert turns[2]["content"] == [told("functions_weather_0", "Sunny")]

    def test_the_mark_for_the_cache_is_on_the_last_message(self):
        """Also where a turn is left out, and on a result."""
        provider = AnthropicProvider("anthropic", api_key="x")
        context = RunContext(conversation_id="1")
        for turns in (
            (ASKED, assistant(call("1")), user(result("1", "Sunny"))),
            (ASKED, assistant(call("1")), Turn("user", "Well?")),
        ):
            sent = provider.parameters(Prompt(turns=turns, context=context, options=ModelOptions()))["messages"]
            marked = [block for message in sent for block in message["content"] if "cache_control" in block]

            assert marked == [sent[-1]["content"][-1]]


class ToolsTests(SimpleTestCase):
    def test_a_schema(self):
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        function = {"name": "weather", "description": "Of a city.", "parameters": schema, "strict": True}

        assert parameters(function, {"name": "time", "strict": False}) == {
            "tools": [
                {"name": "weather", "description": "Of a city.", "input_schema": schema, "strict": True},
                {"name": "time", "input_schema": {"type": "object"}},
            ]
        }

    def test_how_they_may_be_called(self):
        once = {"disable_parallel_tool_use": True}
        for tools, choice in (
            ({"choice": "auto"}, {"type": "auto"}),
            ({"choice": "none", "parallel": False}, {"type": "none"}),
            ({"choice": "required", "parallel": True}, {"type": "any"}),
            ({"choice": "required", "parallel": False}, {"type": "any", **once}),
            ({"function": "weather"}, {"type": "tool", "name": "weather"}),
            ({"function": "weather", "parallel": False}, {"type": "tool", "name": "weather", **once}),
            ({"parallel": False}, {"type": "auto", **once}),
        ):
            with self.subTest(tools):
                assert parameters(WEATHER, **tools)["tool_choice"] == choice

    def test_a_history_with_calls_and_a_request_without_tools(self):
        """The API wants to know the tools all the same."""
        turns = (ASKED, assistant(call("1"), call("2")), user(result("1", "Sunny"), result("2", "")))

        assert parameters(turns=turns) == {
            "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "none"},
        }
        assert parameters(turns=turns[:2]) == {}

    def test_strict_is_refused_for_a_model_that_does_not_know_it(self):
        provider = AnthropicProvider("anthropic", api_key="x")
        strict = Tools((WEATHER,))

        assert provider.problem_with_tools("claude-sonnet-4-5", strict) == ""
        assert "strict" in provider.problem_with_tools("claude-sonnet-4", strict)
        assert provider.problem_with_tools("glm-4.6", Tools(({"name": "weather", "strict": False},))) == ""
