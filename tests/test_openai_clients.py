"""OpenAI's SDK for Python as a client: real servers on both sides, and what each exchange leaves in the database.

`python -m pytest -s tests/test_openai_clients.py` shows its version.
"""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from django.test import override_settings
from openai import AsyncOpenAI, OpenAI

from streaming_chat.asgi import get_asgi_application
from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol.events import REASONING

from .factories import make_token
from .provider_server import Gate, Script
from .servers import ServerTestCase, ThreadServer, held, outcome, wait_until
from .tools.cases import SETTINGS as TOOLS

ROOT = Path(__file__).parent.parent
MODEL = "openai:any"
HI = [{"role": "user", "content": "Hi"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
# What the app asks for before it gives up, when a provider is busy.
ATTEMPTS = 3
# What a reply of the provider's default leaves: see `transcripts`.
ANSWER = ("Hello, wörld!", "", "completed", "stop", "")
CUT = ("interrupted", "provider_truncated", "provider_truncated")
BUSY = Script(status=429, body={"error": {"message": "Busy."}}, headers={"retry-after": "0"})


def run(*command, **options):
    """Return what a program prints."""
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **options)

    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def user(content):
    return {"role": "user", "content": content}


class ClientsTestCase(ServerTestCase):
    """addresses: from which requests have come, with the port, one for each. connections: the same, by the header X-Step."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addresses, cls.connections = [], {}
        server = cls.enterClassContext(ThreadServer(cls.recording(get_asgi_application())))
        cls.root = f"http://127.0.0.1:{server.port}/chat/"

    def setUp(self):
        super().setUp()
        self.addresses.clear()
        self.connections.clear()
        self.token = make_token()
        self.options = {"base_url": f"{self.root}v1", "api_key": self.token}

    @classmethod
    def recording(cls, application):
        async def recorded(scope, receive, send):
            cls.addresses.append(scope.get("client"))
            step = dict(scope["headers"]).get(b"x-step", b"").decode("latin-1")
            cls.connections[step] = scope.get("client")
            await application(scope, receive, send)

        return recorded

    def transcripts(self, text="Hi"):
        """Return the replies to a message: text, reasoning, status, reason and code of the ending, and the tokens."""
        replies = Message.objects.filter(parent__text=text, origin="server").order_by("id")
        return [
            (
                reply.text,
                "".join(event.payload for event in reply.events() if event.kind == REASONING),
                *outcome(reply),
                reply.input_tokens,
                reply.output_tokens,
            )
            for reply in replies
        ]

    def outcome_of(self, text):
        """Return how the only reply to a message has ended."""
        return outcome(Message.objects.get(parent__text=text, origin="server"))

    def branch_to(self, conversation, text):
        """Return the roles and texts of the branch that ends with the reply to a message."""
        reply = Message.objects.get(conversation=conversation, parent__text=text)
        return [(message.role, message.text) for message in branch(conversation, reply.pk)]

    def check_saved(self, text="Hello, wörld!", *, reasoning="", ending=("completed", "stop", ""), usage=(7, 4)):
        """Assert that the database has one question and this reply to it. usage: None if it does not count."""
        conversation = Conversation.objects.get()
        [(*transcript, tokens_in, tokens_out)] = self.transcripts()

        assert transcript == [text, reasoning, *ending]
        assert usage is None or (tokens_in, tokens_out) == usage
        assert self.branch_to(conversation, "Hi") == [("user", "Hi"), ("assistant", text)]
        assert conversation.message_count == 2

    def check_example(self, *command, folder=ROOT):
        """Run an example with two messages."""
        environment = {**os.environ, "CHAT_TOKEN": self.token}
        printed = run(*command, self.root, input="one\ntwo\n", env=environment, cwd=folder)

        assert printed.splitlines() == ["Hello, wörld!"] * 2
        assert Conversation.objects.get().message_count == 4


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


class PythonTests(ClientsTestCase):
    def setUp(self):
        super().setUp()
        self.client = self.enterContext(OpenAI(**self.options))
        print("openai-python", openai.__version__)  # noqa: T201  (the version tested)

    def create(self, messages=HI, **options):
        return self.client.chat.completions.create(model=MODEL, messages=messages, **options)

    def test_whole(self):
        answer = self.create()

        assert answer.choices[0].message.content == "Hello, wörld!"
        assert (answer.choices[0].finish_reason, answer.usage.total_tokens, answer.model) == ("stop", 11, MODEL)
        self.check_saved()

    def test_streamed(self):
        """The reply is saved when the stream ends."""
        chunks = list(self.create(stream=True, stream_options={"include_usage": True}))

        self.check_saved()
        assert text_of(chunks) == "Hello, wörld!"
        assert chunks[-1].usage.total_tokens == 11
        assert len({(chunk.id, chunk.created, chunk.model, chunk.system_fingerprint) for chunk in chunks}) == 1

    def test_as_it_is_written(self):
        gate = Gate()
        self.provider.script(Script(["a", "b"], gates={1: gate}))
        with held(gate), self.create(stream=True) as stream:
            chunks = iter(stream)
            first = [next(chunks).choices[0].delta.content for _ in range(2)]
            gate.open()
            rest = text_of(chunks)

        assert (first, rest) == (["", "a"], "b")
        self.check_saved("ab")

    def test_reasoning(self):
        self.provider.default = Script(["Yes"], reasoning=["Let me", " think."])
        self.addCleanup(setattr, self.provider, "default", Script())
        chunks = list(self.create(stream=True))
        reasoning = [getattr(chunk.choices[0].delta, "reasoning_content", "") for chunk in chunks]

        assert ("".join(reasoning), text_of(chunks)) == ("Let me think.", "Yes")
        self.check_saved("Yes", reasoning="Let me think.")
        assert self.create([user("Again")]).choices[0].message.reasoning_content == "Let me think."
        assert self.transcripts("Again") == self.transcripts("Hi")

    def test_the_stream_helper(self):
        with self.client.chat.completions.stream(model=MODEL, messages=HI) as stream:
            kinds = {event.type for event in stream}
            answer = stream.get_final_completion()

        assert kinds >= {"chunk", "content.delta", "content.done"}
        assert answer.choices[0].message.content == "Hello, wörld!"
        self.check_saved()

    def test_raw(self):
        response = self.client.chat.completions.with_raw_response.create(model=MODEL, messages=HI)

        assert response.headers["content-type"] == "application/json"
        assert response.parse().choices[0].message.content == "Hello, wörld!"
        self.check_saved()

    def test_a_raw_stream(self):
        create = self.client.chat.completions.with_streaming_response.create
        with create(model=MODEL, messages=HI, stream=True) as streamed:
            lines = list(streamed.iter_lines())

        assert [line for line in lines if line][-1] == "data: [DONE]"
        self.check_saved()

    def test_tools_are_passed_through(self):
        self.provider.script(Script([], tool_calls=[("weather", '{"city":"Rome"}')]), Script(["Sunny."]))
        question = [user("Weather in Rome?")]
        said = self.create(question, tools=[WEATHER], tool_choice="auto").choices[0].message
        [call] = said.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "25 °C"}
        answer = self.create([*question, said.to_dict(), result], tools=[WEATHER])
        first, second = self.provider.calls

        assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Rome"}')
        assert (first.body["tools"], first.body["tool_choice"]) == ([WEATHER], "auto")
        assert [message["role"] for message in second.body["messages"]] == ["user", "assistant", "tool"]
        assert second.body["messages"][1]["tool_calls"] == [call.to_dict()]
        assert second.body["messages"][2] == result
        assert answer.choices[0].message.content == "Sunny."
        conversation = Conversation.objects.get()
        [called] = self.transcripts("Weather in Rome?")
        assert (conversation.message_count, called[:5]) == (4, ("", "", "completed", "tool_calls", ""))

        self.create([*question, said.to_dict(), result, answer.choices[0].message.to_dict(), user("Thanks")])
        conversation.refresh_from_db()

        assert conversation.message_count == 6
        assert [text for _role, text in self.branch_to(conversation, "25 °C")] == [
            *("Weather in Rome?", "", "25 °C", "Sunny.")
        ]

    def test_the_calls_of_a_stream(self):
        self.provider.script(Script([], tool_calls=[("weather", '{"city":"Rome"}'), ("weather", "{}")]))
        with self.client.chat.completions.stream(model=MODEL, messages=HI, tools=[WEATHER]) as stream:
            choice = stream.get_final_completion().choices[0]

        assert choice.finish_reason == "tool_calls"
        assert [call.function.arguments for call in choice.message.tool_calls] == ['{"city":"Rome"}', "{}"]
        self.check_saved("", ending=("completed", "tool_calls", ""), usage=None)
        saved = [event.payload["arguments"] for event in Message.objects.get(origin="server").events()]
        assert saved == ['{"city":"Rome"}', "{}"]

    def test_an_error_before_the_stream_is_not_repeated_by_the_client(self):
        """The app itself has repeated it; the SDK would do so twice."""
        for stream in (True, False):
            with self.subTest(stream=stream):
                self.provider.clear()
                self.provider.script(*[BUSY] * 9)
                with self.assertRaises(openai.RateLimitError) as raised:
                    self.create(stream=stream)

                assert raised.exception.code == "provider_rate_limited"
                assert len(self.provider.calls) == ATTEMPTS
        assert [row[:5] for row in self.transcripts()] == [("", "", "failed", "", "provider_rate_limited")] * 2

    def test_an_error_that_could_be_billed_is_not_repeated(self):
        self.provider.script(Script(status=400, body={"error": {"message": "No."}}), Script())
        with self.assertRaises(openai.BadRequestError) as raised:
            self.create(stream=True)

        assert raised.exception.code == "provider_rejected"
        assert len(self.provider.calls) == 1
        self.check_saved("", ending=("failed", "", "provider_rejected"), usage=None)

    def test_a_refusal_by_the_app_is_repeated_by_the_client(self):
        """Nothing was billed; it comes after the time that the app has named."""
        gate = Gate()
        self.provider.script(Script(["One"], gates={0: gate}))
        limited = override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1)
        with limited, held(gate), ThreadPoolExecutor() as pool:
            first = pool.submit(self.create, [user("One")])
            gate.wait_reached()
            second = pool.submit(self.create, [user("Two")])
            wait_until(lambda: len(self.addresses) >= 2)
            gate.open()

            assert first.result().choices[0].message.content == "One"
            assert second.result().choices[0].message.content == "Hello, wörld!"
        assert len(self.provider.calls) == 2
        assert [self.transcripts(text)[0][:3] for text in ("One", "Two")] == [
            ("One", "", "completed"),
            ("Hello, wörld!", "", "completed"),
        ]

    def test_an_error_in_the_middle_of_a_stream(self):
        self.provider.script(Script(["Half", " of it"], fault="cut", after=1))
        with self.assertRaises(openai.APIError) as raised:
            list(self.create(stream=True))

        assert raised.exception.code == "provider_truncated"
        assert len(self.provider.calls) == 1
        self.check_saved("Half", ending=CUT, usage=None)

    def test_errors_of_the_request(self):
        with self.assertRaises(openai.NotFoundError) as unknown:
            self.client.chat.completions.create(model="other:model", messages=HI)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.create(temperature=0.5)
        with self.assertRaises(openai.AuthenticationError):
            OpenAI(base_url=self.options["base_url"], api_key="sk-wrong").models.list()

        assert unknown.exception.code == "model_not_found"
        assert refused.exception.param == "temperature"
        assert self.provider.calls == []
        assert not Message.objects.exists()

    def test_a_client_that_leaves_stops_the_reply(self):
        self.provider.script(Script(["a"], fault="endless"))
        with self.create(stream=True) as stream:
            next(iter(stream))

        wait_until(lambda: self.outcome_of("Hi") == ("stopped", "disconnect", ""))
        self.check_saved(self.transcripts()[0][0], ending=("stopped", "disconnect", ""), usage=None)

    def test_the_connection_is_used_again(self):
        self.create()
        with self.assertRaises(openai.BadRequestError):
            self.create(n=2)
        self.provider.script(Script(status=400, body={"error": {}}))
        with self.assertRaises(openai.BadRequestError):
            self.create(stream=True)
        self.client.models.list()

        assert len(self.addresses) == 4
        assert len(set(self.addresses)) == 1

    def test_the_connection_of_a_stream_is_used_again_if_it_is_read_to_its_end(self):
        """`create` closes its connection as soon as it has read [DONE], before it looks for the end of the body."""
        create = self.client.chat.completions.with_streaming_response.create
        for text in ("one", "two"):
            with create(model=MODEL, messages=[user(text)], stream=True) as streamed:
                assert "data: [DONE]" in list(streamed.iter_lines())
        self.create()

        assert len(self.addresses) == 3
        assert len(set(self.addresses)) == 1
        assert self.transcripts("one") == self.transcripts("two") == self.transcripts() == [(*ANSWER, 7, 4)]

    def test_models(self):
        assert [model.id for model in self.client.models.list()] == ["openai:any", "anthropic:any", "responses:any"]


class AsyncTests(ClientsTestCase):
    def run_with(self, function):
        """Return what a function of a client returns."""

        async def called():
            async with AsyncOpenAI(**self.options) as client:
                return await function(client.chat.completions)

        return asyncio.run(called())

    def test_whole(self):
        answer = self.run_with(lambda completions: completions.create(model=MODEL, messages=HI))

        assert (answer.choices[0].message.content, answer.usage.total_tokens) == ("Hello, wörld!", 11)
        self.check_saved()

    def test_streamed(self):
        async def ask(completions):
            return [chunk async for chunk in await completions.create(model=MODEL, messages=HI, stream=True)]

        assert text_of(self.run_with(ask)) == "Hello, wörld!"
        self.check_saved()

    def test_the_stream_helper(self):
        async def ask(completions):
            async with completions.stream(model=MODEL, messages=HI) as stream:
                return await stream.get_final_completion()

        assert self.run_with(ask).choices[0].message.content == "Hello, wörld!"
        self.check_saved()

    def test_an_error_before_the_stream_is_not_repeated(self):
        self.provider.script(*[BUSY] * 9)
        with self.assertRaises(openai.RateLimitError):
            self.run_with(lambda completions: completions.create(model=MODEL, messages=HI, stream=True))

        assert len(self.provider.calls) == ATTEMPTS
        self.check_saved("", ending=("failed", "", "provider_rate_limited"), usage=None)

    def test_an_error_in_the_middle_of_a_stream(self):
        async def ask(completions):
            return [chunk async for chunk in await completions.create(model=MODEL, messages=HI, stream=True)]

        self.provider.script(Script(["Half", " of it"], fault="cut", after=1))
        with self.assertRaises(openai.APIError) as raised:
            self.run_with(ask)

        assert raised.exception.code == "provider_truncated"
        self.check_saved("Half", ending=CUT, usage=None)

    def test_the_connection_is_used_again(self):
        async def ask(completions):
            for text in ("one", "two"):
                await completions.create(model=MODEL, messages=[user(text)])
            create = completions.with_streaming_response.create
            async with create(model=MODEL, messages=HI, stream=True) as streamed:
                lines = [line async for line in streamed.iter_lines()]
            await completions.create(model=MODEL, messages=[user("three")])
            return lines

        assert "data: [DONE]" in self.run_with(ask)
        assert (len(self.addresses), len(set(self.addresses))) == (4, 1)


class TranscriptTests(ClientsTestCase):
    def setUp(self):
        super().setUp()
        self.client = self.enterContext(OpenAI(**self.options))

    def say(self, history, text):
        """Say something after a history; return the longer one."""
        self.provider.script(Script([f"Reply to {text}"]))
        asked = [*history, user(text)]
        chunks = self.client.chat.completions.create(model=MODEL, messages=asked, stream=True)
        return [*asked, {"role": "assistant", "content": text_of(chunks)}]

    def test_five_turns_are_one_conversation_and_an_edited_history_is_a_branch(self):
        history = []
        for text in ("one", "two", "three", "four", "five"):
            history = self.say(history, text)
        edited = self.say(history[:4], "3")
        conversation = Conversation.objects.get()
        leaves = [Message.objects.get(text=f"Reply to {text}") for text in ("five", "3")]

        assert conversation.message_count == 12
        for leaf, said in zip(leaves, (history, edited), strict=True):
            path = branch(conversation, leaf.pk)

            assert [(message.role, message.text) for message in path] == [(m["role"], m["content"]) for m in said]
            assert [message.origin for message in path] == ["client", "server"] * (len(said) // 2)
        assert [message["content"] for message in self.provider.calls[-1].body["messages"]] == [
            message["content"] for message in edited[:-1]
        ]

    def test_requests_at_the_same_time_do_not_wait_for_one_another(self):
        """Both go on from one reply; a conversation writes one reply at a time."""
        history, gate = self.say([], "one"), Gate()
        self.provider.by_text = {"two": Script(["2"], gates={0: gate})}
        with held(gate), ThreadPoolExecutor() as pool:
            waiting = pool.submit(self.say, history, "two")
            gate.wait_reached()
            other = self.say(history, "three")
            gate.open()

            assert waiting.result()[-1]["content"] == "2"
        assert other[-1]["content"] == "Reply to two"
        assert sorted(Conversation.objects.values_list("message_count", flat=True)) == [4, 4]


@override_settings(**TOOLS)
class SiteToolsTests(ClientsTestCase):
    """The tools of the site, also the ones that the client runs; the client's own tools replace them all."""

    def setUp(self):
        super().setUp()
        self.client = OpenAI(**self.options)

    def test_a_client_runs_its_part_of_the_calls(self):
        calls = [("weather", '{"city": "Köln"}'), ("locate", "{}")]
        self.provider.script(Script(["I look."], tool_calls=calls), Script(["Clear, where you are."]))
        with self.client.chat.completions.stream(model=MODEL, messages=HI) as stream:
            [choice] = stream.get_final_completion().choices
        [call] = choice.message.tool_calls

        assert (call.function.name, choice.finish_reason) == ("locate", "tool_calls")
        assert choice.message.content == "I look."

        result = {"role": "tool", "tool_call_id": call.id, "content": "Köln"}
        messages = [*HI, choice.message.to_dict(), result]
        [choice] = self.client.chat.completions.create(model=MODEL, messages=messages).choices
        reply = wait_until(Message.objects.filter(role="assistant", status="completed").first)

        assert (choice.message.content, choice.finish_reason) == ("\n\nClear, where you are.", "stop")
        assert [part["status"] for part in reply.parts if part["kind"] == "tool_result"] == ["ok", "ok"]
        assert len(self.provider.calls) == 2

        messages += [choice.message.to_dict(), user("Thanks")]
        self.client.chat.completions.create(model=MODEL, messages=messages)

        assert Message.objects.get(text="Thanks").parent == reply

    def test_an_approval_is_an_error_that_is_not_tried_again(self):
        for stream in (False, True):
            self.provider.script(Script(["I pay."], tool_calls=[("pay", '{"amount": 200}')]))
            with self.assertRaises(openai.APIError) as raised:
                [*self.client.chat.completions.create(model=MODEL, messages=HI, stream=stream)]

            assert raised.exception.code == "approval_required"
            reply = Message.objects.get(status="waiting")
            assert self.browser.stop(reply.pk).status == 200
            self.ended(reply.pk)
        assert len(self.provider.calls) == 2


class ExampleTests(ClientsTestCase):
    def test_the_example(self):
        self.check_example(sys.executable, "docs/examples/openai_sdk.py")
