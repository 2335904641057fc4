"""`v1/chat/completions` and `v1/models`, as any HTTP client sees them; tests/openai_clients has OpenAI's own SDKs."""

import json
from unittest import mock

from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Message
from streaming_chat.providers.base import Tools, Usage
from streaming_chat.testing import Script
from tests.factories import make_token, make_user
from tests.native import ApiTestCase

MODEL = "scripted:model"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


class CompletionsTestCase(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.bearer = {"Authorization": f"Bearer {make_token(self.user)}"}

    def ask(self, *messages, headers=None, **body):
        body = {"model": MODEL, "messages": list(messages or [user("Hi")]), **body}
        return self.api.post("v1/chat/completions", body, headers={**self.bearer, **(headers or {})})

    def whole(self, *messages, **body):
        response = self.ask(*messages, **body)

        assert response.status_code == 200, response.content
        return response.json()

    def chunks(self, *messages, **body):
        response = self.ask(*messages, stream=True, **body)
        blocks = b"".join(response.streaming_content).decode().split("\n\n")

        assert response.status_code == 200
        assert (response.headers["Content-Type"], blocks[-1]) == ("text/event-stream; charset=utf-8", "")
        return [json.loads(data) if data != "[DONE]" else data for data in (block[6:] for block in blocks[:-1])]

    def refused(self, *messages, **body):
        """Return the status, the code and the parameter of a refusal, which leaves no row."""
        response = self.ask(*messages, **body)
        error = response.json()["error"]

        assert set(error) == {"message", "type", "param", "code"}
        assert not Conversation.objects.exists()
        return response.status_code, error["code"], error["param"]

    def prompt(self):
        return self.provider.calls[-1].prompt


class WholeAnswerTests(CompletionsTestCase):
    def test_one_answer(self):
        answer = self.whole()
        reply = Message.objects.get(role="assistant")

        assert answer == {
            "id": f"chatcmpl-{reply.pk}",
            "object": "chat.completion",
            "created": int(reply.created_at.timestamp()),
            "model": MODEL,
            "system_fingerprint": "fp_streaming_chat",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello, world", "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 7,
                "completion_tokens": 4,
                "total_tokens": 11,
                "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        }

    def test_reasoning_and_tool_calls(self):
        self.provider.script(
            Script("", reasoning=["Hm", "."], tool_calls=[("weather", '{"city":"Rome"}')], end_reason="tool_calls")
        )
        [choice] = self.whole(tools=[WEATHER])["choices"]
        [call] = choice["message"]["tool_calls"]

        assert choice["finish_reason"] == "tool_calls"
        assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == (None, "Hm.")
        assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": '{"city":"Rome"}'})

    def test_a_reply_that_was_cut_off(self):
        for end_reason in ("length", "content_filter"):
            self.provider.script(Script("Half", end_reason=end_reason))

            assert self.whole()["choices"][0]["finish_reason"] == end_reason

    def test_a_reply_that_failed_is_an_error_that_is_not_to_be_repeated(self):
        for code, status in (
            ("provider_rate_limited", 429),
            ("provider_auth", 502),
            ("provider_timeout", 504),
            ("model_unknown", 404),
            ("context_too_long", 400),
        ):
            for stream in (False, True):
                with self.subTest(code=code, stream=stream):
                    self.provider.script(Script("", error=code))
                    response = self.ask(stream=stream)

                    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
                    assert response.headers["x-should-retry"] == "false"

    def test_a_reply_that_failed_half_way_is_an_error(self):
        self.provider.script(Script("Half", error="provider_error"))

        assert self.ask().status_code == 502
        assert Message.objects.get(role="assistant").text == "Half"


class StreamTests(CompletionsTestCase):
    def test_a_reply(self):
        chunks = self.chunks()
        first, *_, last, done = chunks

        assert done == "[DONE]"
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == "Hello, world"
        assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
        assert "usage" not in last

    def test_what_stays_the_same_in_all_chunks(self):
        heads = {
            tuple(chunk[name] for name in ("id", "object", "created", "model", "system_fingerprint"))
            for chunk in self.chunks()[:-1]
        }

        assert len(heads) == 1
        assert heads.pop()[1] == "chat.completion.chunk"

    def test_usage(self):
        self.provider.script(Script("Hi", usage=Usage(input_tokens=9, cached_input_tokens=5, output_tokens=1)))
        *others, usage, _done = self.chunks(stream_options={"include_usage": True})

        assert [chunk["usage"] for chunk in others] == [None] * len(others)
        assert usage["choices"] == []
        assert usage["usage"]["total_tokens"] == 10
        assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}

    def test_an_error_half_way_is_the_last_frame(self):
        self.provider.script(Script("Half", error="provider_error"))
        *_, last = self.chunks()

        assert last["error"]["code"] == "provider_error"
        assert last["error"]["type"] == "server_error"

    def test_the_native_stream_has_the_format_too(self):
        self.whole()
        reply = Message.objects.get(role="assistant")
        response = self.api.get(f"api/messages/{reply.pk}/events?format=openai")

        assert b"".join(response.streaming_content).endswith(b"data: [DONE]\n\n")


class ParameterTests(CompletionsTestCase):
    def test_what_is_not_known_is_refused_by_name(self):
        for name, value in {
            "n": 2,
            "logprobs": True,
            "functions": [],
            "modalities": ["audio"],
            "store": True,
            "metadata": {},
            "max_tokens": 0,
            "stream_options": {"x": True},
            "tools": [{"type": "web_search"}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "reasoning_effort": "huge",
        }.items():
            with self.subTest(name):
                assert self.refused(**{name: value}) == (400, "invalid", name)

    def test_what_the_site_does_not_let_clients_set_is_refused_by_name(self):
        assert self.refused(temperature=0.5) == (400, "invalid", "temperature")
        assert self.refused(reasoning_effort="high") == (400, "invalid", "reasoning_effort")
        assert self.refused(system("Obey."), user("Hi")) == (400, "invalid", "messages")

    @override_settings(
        STREAMING_CHAT_MODEL_OPTIONS={
            MODEL: {"client_parameters": ["temperature", "stop"], "efforts": ["low"], "parameters": {"temperature": 1}}
        }
    )
    def test_what_the_site_lets_clients_set_is_passed_on(self):
        self.whole(temperature=0.5, stop=["\n"], top_p=None, reasoning_effort="low", max_completion_tokens=50)
        options = self.prompt().options

        assert options.parameters == {"temperature": 0.5, "stop": ["\n"]}
        assert (options.effort, options.max_output_tokens) == ("low", 50)
        assert self.ask(temperature=3).json()["error"]["param"] == "temperature"

    def test_a_client_cannot_ask_for_more_tokens_than_the_model_has(self):
        self.whole(max_tokens=10**9)

        assert self.prompt().options.max_output_tokens == 16_384

    def test_a_model_that_is_not_there(self):
        assert self.refused(model="scripted:other") == (404, "model_not_found", "model")


class MessagesTests(CompletionsTestCase):
    def test_what_a_client_says_is_saved_as_the_clients_word(self):
        self.whole(user("One"), assistant("Two", refusal=None, tool_calls=None), user([{"type": "text", "text": "3"}]))
        reply = Message.objects.get(status="completed", origin="server")

        assert [(turn.role, turn.text) for turn in self.prompt().turns] == [
            ("user", "One"),
            ("assistant", "Two"),
            ("user", "3"),
        ]
        assert [(message.role, message.origin) for message in branch(reply.conversation, reply.pk)] == [
            ("user", "client"),
            ("assistant", "client"),
            ("user", "client"),
            ("assistant", "server"),
        ]

    def test_messages_that_cannot_be_answered(self):
        for messages in (
            [assistant("Hi")],
            [user("")],
            [user(None)],
            [{"role": "function", "content": "Hi"}],
            [user("Hi"), system("Late")],
            [user([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])],
            [{**user("Hi"), "audio": {}}],
            [user("Hi"), assistant("", tool_calls=[{"id": "1", "type": "custom"}]), user("Ho")],
        ):
            with self.subTest(messages=messages):
                assert self.refused(*messages) == (400, "invalid", "messages")

    def test_the_calls_of_a_clients_tools_and_their_results(self):
        tool = {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"}
        self.whole(user("Weather?"), assistant(None, tool_calls=[CALL]), tool, tools=[WEATHER], tool_choice="auto")
        _question, called, result = self.prompt().turns

        assert self.prompt().tools == Tools((WEATHER["function"],), "auto")
        assert called.parts[0]["name"] == "weather"
        assert result.parts == ({"kind": "tool_result", "id": "call_1", "text": "Sunny"},)
        assert Message.objects.get(text="Sunny").role == "user"

    def test_a_result_answers_a_call_before_it(self):
        """As at OpenAI."""
        tool = {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"}
        called = assistant(None, tool_calls=[CALL])
        for messages in (
            [tool],
            [user("Hi"), assistant("Ho"), tool],
            [user("Hi"), called, user("Ho"), tool],
            [user("Hi"), called, {**tool, "tool_call_id": "call_2"}],
            [user("Hi"), called, tool, tool],
        ):
            with self.subTest(messages=messages):
                assert self.refused(*messages) == (400, "invalid", "messages")


class ToolsTests(CompletionsTestCase):
    def tool(self, **function):
        return {"type": "function", "function": {"name": "weather", **function}}

    def test_how_tools_may_be_called(self):
        named = {"type": "function", "function": {"name": "weather"}}
        for body, tools in (
            ({}, {}),
            ({"tool_choice": "required"}, {"choice": "required"}),
            ({"tool_choice": named, "parallel_tool_calls": False}, {"function": "weather", "parallel": False}),
        ):
            self.whole(tools=[WEATHER], **body)

            assert self.prompt().tools == Tools((WEATHER["function"],), **tools)

    def test_what_is_null_counts_as_absent(self):
        self.whole(tools=[self.tool(description=None, parameters=None, strict=None, x=None)])

        assert self.prompt().tools == Tools(({"name": "weather"},))

    def test_tools_that_are_refused(self):
        """By the name of what is wrong with them."""
        for name, tool in (
            ("name", {"type": "function", "function": {"description": "Of a city."}}),
            ("strict", self.tool(strict=1)),
            ("parameters", self.tool(parameters=[])),
            ("description", self.tool(description={})),
            ("cache_control", self.tool(cache_control={})),
        ):
            with self.subTest(name):
                error = self.ask(tools=[tool]).json()["error"]

                assert (error["code"], error["param"]) == ("invalid", "tools")
                assert name in error["message"]

        assert self.refused(tools=[WEATHER, WEATHER]) == (400, "invalid", "tools")

    def test_a_choice_of_a_tool_that_is_not_there(self):
        choice = {"type": "function", "function": {"name": "time"}}

        assert self.refused(tools=[WEATHER], tool_choice=choice) == (400, "invalid", "tool_choice")

    @override_settings(
        STREAMING_CHAT_PROVIDERS={"demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider"}},
        STREAMING_CHAT_MODELS=["demo:demo"],
    )
    def test_a_provider_that_takes_no_tools(self):
        assert self.refused(model="demo:demo", tools=[WEATHER]) == (400, "invalid", "tools")


class IdempotencyTests(CompletionsTestCase):
    def test_the_same_key_is_answered_by_the_same_reply(self):
        first, second = (self.whole(headers={"Idempotency-Key": "one"}) for _ in range(2))

        assert first == second
        assert len(self.provider.calls) == 1
        assert self.ask(user("Other"), headers={"Idempotency-Key": "one"}).status_code == 400

    def test_a_malformed_key(self):
        assert self.refused(headers={"Idempotency-Key": "a b"}) == (400, "invalid", "Idempotency-Key")


class ConversationTests(CompletionsTestCase):
    """What all stateless clients have in common: tests/chats/test_stateless.py."""

    def test_a_tool_call_is_answered_in_the_same_conversation(self):
        self.provider.script(Script("", tool_calls=[("weather", "{}")], end_reason="tool_calls"), Script("Sunny."))
        said = self.whole(user("Weather?"), tools=[WEATHER])["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": ""}
        self.whole(user("Weather?"), said, result, tools=[WEATHER])
        conversation = Conversation.objects.get()

        assert [message.text for message in branch(conversation, conversation.head_id)] == [
            "Weather?",
            "",
            "",
            "Sunny.",
        ]
        assert [turn.parts[0]["kind"] for turn in self.prompt().turns] == ["text", "tool_call", "tool_result"]

    def test_another_token_is_another_client(self):
        first = self.whole(user("One"))["choices"][0]["message"]
        for bearer in (make_token(self.user), make_token(make_user("bo"))):
            self.bearer = {"Authorization": f"Bearer {bearer}"}
            self.whole(user("One"), first, user("Two"))

        assert Conversation.objects.count() == 3

    def test_another_user_of_the_client_is_another_client(self):
        first = self.whole(user("One"), user="1")["choices"][0]["message"]
        for name in ("1", "2"):
            self.whole(user("One"), first, user("Two"), user=name)

        assert Conversation.objects.count() == 2

    def test_another_system_prompt_is_another_conversation(self):
        with mock.patch.object(Permissions, "may_set_system_prompt", return_value=True):
            for text in ("Be brief.", "Be brief.", "Be kind."):
                first = self.whole(system(text), user("One"))["choices"][0]["message"]
                self.whole(system(text), user("One"), first, user("Two"))

        assert self.prompt().system == "Be kind."
        assert Conversation.objects.filter(system_prompt="Be kind.").count() == 1


class RefusalTests(CompletionsTestCase):
    def test_other_methods_and_bodies(self):
        wrong = self.api.get("v1/chat/completions", headers=self.bearer)
        form = self.api.post("v1/chat/completions", "a=b", content_type="text/plain", headers=self.bearer)

        assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
        assert form.status_code == 415
        assert {response.json()["error"]["type"] for response in (wrong, form)} == {"invalid_request_error"}

    def test_addresses_that_are_not_here(self):
        """The SDKs show the message; a page of the site would be all of it."""
        for method, path in (
            ("POST", "v1/responses"),
            ("POST", "v1/embeddings"),
            ("GET", "v1/models/x"),
            ("GET", "v1"),
        ):
            response = self.api.ask(method, path, {} if method == "POST" else b"", headers=self.bearer)
            error = response.json()["error"]

            assert (response.status_code, error["code"]) == (404, "not_found")
            assert error["type"] == "invalid_request_error"

    def test_no_valid_token(self):
        """A session's cookie does not count."""
        for headers, code in (({}, "token_required"), ({"Authorization": "Bearer x"}, "invalid_token")):
            for response in (
                self.api.post("v1/chat/completions", {}, headers=headers),
                self.api.get("v1/models", headers=headers),
            ):
                error = response.json()["error"]

                assert (response.status_code, error["type"], error["code"]) == (401, "authentication_error", code)
                assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_a_token_that_may_only_read(self):
        self.bearer = {"Authorization": f"Bearer {make_token(self.user, scope='read')}"}

        assert self.refused() == (403, "insufficient_scope", None)
        assert self.api.get("v1/models", headers=self.bearer).status_code == 200


class ModelsTests(CompletionsTestCase):
    @override_settings(STREAMING_CHAT_MODELS=["scripted:one", "scripted:*"])
    def test_the_names_on_offer(self):
        assert self.api.get("v1/models", headers=self.bearer).json() == {
            "object": "list",
            "data": [{"id": "scripted:one", "object": "model", "created": 0, "owned_by": "scripted"}],
        }
