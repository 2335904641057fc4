"""Tools of a client, with OpenAI's SDK and with each of the three APIs behind the site.

What the provider is sent, what the client gets back, and what is stored. The loopback provider refuses what the APIs refuse
(tests/tool_pairs.py).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import openai
from django.test import override_settings
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel

from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Message

from .factories import make_token
from .provider_server import Script
from .servers import WIRES, ServerTestCase

ROOT = Path(__file__).parent.parent
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time"}}
TOOLS = [WEATHER, TIME]
QUESTION = {"role": "user", "content": "Weather and time in Köln?"}
CALLS = [("weather", '{"city": "Köln"}'), ("time", "{}")]
# What each API is sent of TOOLS.
SENT_TOOLS = {
    "openai": TOOLS,
    "anthropic": [
        {"name": "weather", "description": "Of a city.", "input_schema": SCHEMA},
        {"name": "time", "input_schema": {"type": "object"}},
    ],
    "responses": [
        {"type": "function", "name": "weather", "description": "Of a city.", "parameters": SCHEMA, "strict": False},
        {"type": "function", "name": "time", "parameters": None, "strict": False},
    ],
}
# What each API is sent after QUESTION: the calls, their results and what the user says after them.
SENT_HISTORY = {
    "openai": [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}},
                {"id": "call_1", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "Sunny"},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
    ],
    "anthropic": [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_0", "name": "weather", "input": {"city": "Köln"}},
                {"type": "tool_use", "id": "call_1", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_0", "content": "Sunny"},
                {"type": "tool_result", "tool_use_id": "call_1", "content": ""},
            ],
        },
    ],
    "responses": [
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "call_0", "name": "weather", "arguments": '{"city": "Köln"}'},
        {"type": "function_call", "call_id": "call_1", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_0", "output": "Sunny"},
        {"type": "function_call_output", "call_id": "call_1", "output": ""},
    ],
}
CHOICE = {"type": "function", "function": {"name": "weather"}}
SENT_CHOICE = {
    "openai": {"tool_choice": CHOICE, "parallel_tool_calls": False},
    "anthropic": {"tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
    "responses": {"tool_choice": {"type": "function", "name": "weather"}, "parallel_tool_calls": False},
}


class Weather(BaseModel):
    """The weather of a city."""

    city: str


def sent_history(body):
    return body.get("messages") or body["input"]


class ClientToolsTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.root, self.token = f"http://127.0.0.1:{self.server.port}/chat/", make_token()
        self.client = self.enterContext(OpenAI(base_url=f"{self.root}v1", api_key=self.token))

    def each_wire(self):
        for wire in WIRES:
            with self.subTest(wire):
                self.provider.clear()
                Conversation.objects.all().delete()
                yield wire

    def ask(self, wire, messages, *, stream=False, **options):
        """Return the message and the finish reason."""
        completions, asked = self.client.chat.completions, {"model": f"{wire}:any", "messages": messages, **options}
        if stream:
            with completions.stream(**asked) as events:
                choice = events.get_final_completion().choices[0]
        else:
            choice = completions.create(**asked).choices[0]
        return choice.message, choice.finish_reason

    def sent(self):
        return self.provider.calls[-1].body

    def test_a_call_and_its_result(self):
        """Two requests, one conversation."""
        for wire in self.each_wire():
            for stream in (False, True):
                self.provider.script(Script(["I look."], tool_calls=CALLS), Script(["Sunny, at noon."]))
                said, finish = self.ask(wire, [QUESTION], tools=TOOLS, stream=stream)
                first = self.sent()
                results = [
                    {"role": "tool", "tool_call_id": call.id, "content": text}
                    for call, text in zip(said.tool_calls, ("Sunny", ""), strict=True)
                ]
                messages = [QUESTION, said.to_dict(), *results]
                answer, finished = self.ask(wire, messages, tools=TOOLS, stream=stream)

                assert (said.content, finish) == ("I look.", "tool_calls")
                assert [(call.function.name, call.function.arguments) for call in said.tool_calls] == CALLS
                assert first["tools"] == self.sent()["tools"] == SENT_TOOLS[wire]
                assert not first.keys() & {"tool_choice", "parallel_tool_calls"}
                assert sent_history(self.sent())[1:] == SENT_HISTORY[wire]
                assert (answer.content, answer.tool_calls, finished) == ("Sunny, at noon.", None, "stop")
                self.check_transcript()

    def check_transcript(self):
        conversation = Conversation.objects.latest("created_at")
        question, reply, *results, answer = branch(conversation, conversation.head_id)

        assert (conversation.message_count, question.text, answer.text) == (5, QUESTION["content"], "Sunny, at noon.")
        assert (reply.origin, reply.status, reply.end_reason) == ("server", "completed", "tool_calls")
        assert [part["kind"] for part in reply.parts] == ["text", "tool_call", "tool_call"]
        assert [(part["name"], part["arguments"]) for part in reply.parts[1:]] == CALLS
        assert [(message.role, message.origin, message.parts) for message in results] == [
            ("user", "client", [{"kind": "tool_result", "id": "call_0", "text": "Sunny"}]),
            ("user", "client", [{"kind": "tool_result", "id": "call_1", "text": ""}]),
        ]

    def test_a_call_without_text(self):
        for wire in self.each_wire():
            self.provider.script(Script([], tool_calls=[("time", "{}")]), Script(["Noon."]))
            said, finish = self.ask(wire, [QUESTION], tools=[TIME])
            result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "12:00"}
            answer, _finish = self.ask(wire, [QUESTION, said.to_dict(), result], tools=[TIME])

            assert (said.content, finish, answer.content) == (None, "tool_calls", "Noon.")
            assert Conversation.objects.get().message_count == 4

    def test_a_history_of_another_program(self):
        """With calls that this site has not seen; no more can be called."""
        called = {"role": "assistant", "content": "I look.", "tool_calls": SENT_HISTORY["openai"][0]["tool_calls"]}
        history = [QUESTION, called, *SENT_HISTORY["openai"][1:]]
        for wire in self.each_wire():
            answer, _finish = self.ask(wire, [*history, {"role": "assistant", "content": "Sunny."}, QUESTION])

            assert sent_history(self.sent())[1 : 1 + len(SENT_HISTORY[wire])] == SENT_HISTORY[wire]
            assert answer.content == "Hello, wörld!"
            assert Message.objects.filter(origin="client").count() == 6

    def test_a_call_that_nobody_has_answered(self):
        """The APIs refuse it, and the client goes on without it."""
        for wire in self.each_wire():
            self.provider.script(Script([], tool_calls=[("time", "{}")]), Script(["Bye."]))
            said, _finish = self.ask(wire, [QUESTION], tools=[TIME])
            bye = {"role": "user", "content": "Never mind."}
            self.ask(wire, [QUESTION, said.to_dict(), bye], tools=[TIME])

            assert [item["role"] for item in sent_history(self.sent())] == ["user"]
            assert Conversation.objects.get().message_count == 4

    def test_how_tools_may_be_called(self):
        for wire in self.each_wire():
            self.ask(wire, [QUESTION], tools=TOOLS, tool_choice=CHOICE, parallel_tool_calls=False)
            sent = {
                name: value for name, value in self.sent().items() if name in ("tool_choice", "parallel_tool_calls")
            }

            assert sent == SENT_CHOICE[wire]

    def test_arguments_that_must_match_a_schema(self):
        """OpenAI's helper makes a strict tool. An older Claude would not keep to it."""
        tool = pydantic_function_tool(Weather, name="weather")
        for wire in ("openai", "responses"):
            self.ask(wire, [QUESTION], tools=[tool])
            [sent] = self.sent()["tools"]

            assert sent.get("function", sent)["strict"] is True
            assert json.dumps(sent).count("additionalProperties") == 1
        with self.assertRaises(openai.BadRequestError) as raised:
            self.ask("anthropic", [QUESTION], tools=[tool])

        assert (raised.exception.code, raised.exception.param) == ("invalid", "tools")
        assert "strict" in raised.exception.message
        self.client.chat.completions.create(model="anthropic:claude-opus-5-5", messages=[QUESTION], tools=[tool])
        assert self.sent()["tools"][0]["strict"] is True

    def test_thinking_with_a_budget(self):
        """The loopback provider refuses it where the API does."""
        options = {"anthropic:any": {"effort": "low"}}
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS=options):
            self.provider.script(Script([], reasoning=["Hm."], tool_calls=[("time", "{}")]), Script(["Noon."]))
            said, _finish = self.ask("anthropic", [QUESTION], tools=[TIME])
            thinking = [self.sent().get("thinking")]
            result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "12:00"}
            answer, _finish = self.ask("anthropic", [QUESTION, said.to_dict(), result], tools=[TIME])
            thinking.append(self.sent().get("thinking"))
            self.ask("anthropic", [QUESTION], tools=[TIME], tool_choice="required")

        assert (said.reasoning_content, answer.content) == ("Hm.", "Noon.")
        assert thinking == [{"type": "enabled", "budget_tokens": 2_048}, None]
        assert "thinking" not in self.sent()

    def test_a_fallback_gets_the_tools_in_its_own_form(self):
        down = Script(status=503, headers={"retry-after": "11"}, body={"error": {"message": "overloaded"}})
        options = {"openai:any": {"fallback": ["anthropic:any"]}}
        self.provider.script(down, Script([], tool_calls=CALLS))
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS=options):
            said, finish = self.ask("openai", [QUESTION], tools=TOOLS, tool_choice="required")

        assert (len(said.tool_calls), finish) == (2, "tool_calls")
        assert (self.sent()["tools"], self.sent()["tool_choice"]) == (SENT_TOOLS["anthropic"], {"type": "any"})

    def test_the_example(self):
        for wire in self.each_wire():
            self.provider.script(Script([], tool_calls=[("multiply", '{"a": 17, "b": 23}')]), Script(["It is 391."]))
            command = [
                sys.executable,
                "docs/examples/openai_tools.py",
                self.root,
                f"{wire}:any",
                "What is 17 times 23?",
            ]
            environment = {**os.environ, "CHAT_TOKEN": self.token}
            ran = subprocess.run(
                command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60
            )

            assert (ran.stdout, ran.stderr) == ("It is 391.\n", "")
            assert "391" in json.dumps(sent_history(self.sent())[-1])
            assert Conversation.objects.get().message_count == 4
