from __future__ import annotations

import json
import os
import uuid
from typing import Any
from unittest import mock

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.events import Event
from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.base import Prompt, RunContext, Turn, Usage
from streaming_chat.providers.model_options import ModelOptions
from tests.provider_server import Gate, ProviderServer, Script
from tests.received import PROMPT, Received, receive

pytestmark = pytest.mark.once

KEY = "sk-ant-very-secret"
WORDS = "very private words"
CONVERSATION = uuid.UUID(int=1)


def _raw(*payloads: dict[str, Any]) -> bytes:
    return "".join(f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n" for payload in payloads).encode()


def _start(**usage: int) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "msg_1", "usage": usage}}


def _end(reason: str, **usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


STOP = {"type": "message_stop"}


@pytest.mark.slow
class ServedTests(SimpleTestCase):
    """Serves replies on loopback."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.made = AnthropicProvider("anthropic", api_key=KEY, base_url=cls.server.anthropic_url)

    def setUp(self):
        self.server.clear()

    def provider(self) -> AnthropicProvider:
        """Return the one provider of all tests, as a site has it."""
        return self.made

    async def reply(self, script: Script) -> Received:
        self.server.script(script)
        return await receive(self.provider())


class PrefillTests(SimpleTestCase):
    def prefills(self, model, **options):
        return AnthropicProvider("anthropic", api_key=KEY, **options).prefills(model)

    def test_models_up_to_4_5_continue_an_assistants_turn(self):
        models = (
            *("claude-instant-1.2", "claude-2.1", "claude-3-5-sonnet-20241022", "claude-3-7-sonnet-latest"),
            *("claude-opus-4-0", "claude-sonnet-4-20250514", "claude-opus-4-1-20250805", "claude-haiku-4-5"),
            *("claude-opus-4-5@20251101", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        )
        for model in models:
            with self.subTest(model):
                assert self.prefills(model)

    def test_later_ones_and_others_do_not(self):
        for model in (
            "claude-opus-4-6",
            "claude-sonnet-4-6-20260217",
            "claude-opus-4-10",
            "claude-opus-5",
            "glm-4.6",
            "",
        ):
            with self.subTest(model):
                assert not self.prefills(model)

    def test_a_site_may_know_better(self):
        assert self.prefills("kimi-k2", prefill=True)
        assert not self.prefills("claude-opus-4-5", prefill=False)


class CacheTests(ServedTests):
    MARK = {"type": "ephemeral"}

    async def asked(self, cache, *turns, system="Be brief.", conversation=CONVERSATION, lasting=None):
        """Return the body of the request for a prompt."""
        prompt = Prompt(
            model="m",
            system=system,
            turns=turns,
            options=ModelOptions(cache=cache),
            context=RunContext(conversation_id=conversation),
            lasting_turns=lasting,
        )
        self.server.script(Script())
        await receive(self.provider(), prompt)
        return self.server.calls[-1].body

    async def test_the_system_prompt_and_the_last_message_are_marked(self):
        turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
        body = await self.asked("5m", *turns)

        assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": self.MARK}]
        assert body["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
            {"role": "user", "content": [{"type": "text", "text": "c", "cache_control": self.MARK}]},
        ]

    async def test_for_an_hour(self):
        body = await self.asked("1h", Turn("user", "a"), system="")

        assert "system" not in body
        assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}

    async def test_a_turn_to_continue_is_not_kept(self):
        """The whole reply will stand in its place."""
        body = await self.asked("5m", Turn("user", "a"), Turn("assistant", "b"))

        assert self.marked(body) == [True, False]

    async def test_neither_are_documents_that_were_looked_up_for_one_question(self):
        turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "A document, and c"))

        assert self.marked(await self.asked("5m", *turns, lasting=2)) == [False, True, False]
        assert self.marked(await self.asked("5m", *turns[2:], lasting=0)) == [False]

    async def test_of_a_prompt_without_a_conversation_only_the_system_prompt_is_kept(self):
        """A write costs more than other input, and no second message follows."""
        body = await self.asked("5m", Turn("user", "a"), conversation=None)

        assert self.marked(body) == [False]
        assert "cache_control" in body["system"][0]

    async def test_by_default_only_at_anthropics_own_address(self):
        for cache in ("auto", None):
            body = await self.asked(cache, Turn("user", "a"))
            assert (body["system"], body["messages"]) == ("Be brief.", [{"role": "user", "content": "a"}])

        for address in (None, "https://api.anthropic.com"):
            body = AnthropicProvider("anthropic", api_key=KEY, base_url=address).parameters(PROMPT)
            assert body["system"][-1]["cache_control"] == self.MARK

    def marked(self, body):
        """Say of each message whether it is marked."""
        return [any("cache_control" in block for block in message["content"]) for message in body["messages"]]


class RequestTests(ServedTests):
    async def test_the_body_is_the_prompt(self):
        await self.reply(Script())

        assert self.server.calls[0].path == "/v1/messages"
        assert self.server.calls[0].body == {
            "model": "gpt-x",
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "Hello?"}],
            "stream": True,
            "max_tokens": 100,
        }

    async def test_no_system_prompt_is_none(self):
        self.server.script(Script())
        await receive(self.provider(), Prompt(model="m", turns=(Turn("user", "a"),)))

        assert "system" not in self.server.calls[0].body

    async def test_the_sites_parameters_and_headers_come_last(self):
        """A temperature is sent only then: current models refuse it."""
        options = ModelOptions(parameters={"temperature": 0.2}, headers={"X-Team": "one", "User-Agent": "ours"})
        await receive(self.provider(), PROMPT.replace(options=options))
        await receive(self.provider())
        first, second = self.server.calls

        assert first.body.items() >= {"temperature": 0.2}.items()
        assert (first.headers["x-team"], first.headers["user-agent"]) == ("one", "ours")
        assert "temperature" not in second.body
        assert "x-team" not in second.headers
        assert second.headers["user-agent"] != "ours"

    async def test_the_effort(self):
        options = ModelOptions(effort="low", show_reasoning=True, parameters={"output_config": {"task": 1}})
        await receive(self.provider(), Prompt(model="claude-opus-5-5", turns=PROMPT.turns, options=options))
        body = self.server.calls[0].body

        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "low", "task": 1}

    async def test_one_owner_is_told_from_another_by_a_hash(self):
        await receive(self.provider(), PROMPT.replace(context=RunContext(user_id=77, owner_hash="0a1b")))

        assert self.server.calls[0].body["metadata"] == {"user_id": "0a1b"}

    async def test_the_key_is_sent_and_identity_is_asked_for(self):
        await self.reply(Script())

        headers = self.server.calls[0].headers

        assert KEY in (headers.get("authorization", "") + headers.get("x-api-key", ""))
        assert headers["accept-encoding"] == "identity"

    async def test_the_environment_decides_nothing(self):
        environment = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_AUTH_TOKEN": "of the environment"}
        with mock.patch.dict(os.environ, environment):
            received = await self.reply(Script())

        assert received.error is None
        assert "of the environment" not in repr(self.server.calls[0].headers)

    async def test_nothing_is_asked_twice(self):
        await self.reply(Script(status=529))

        assert len(self.server.calls) == 1


class ReplyTests(ServedTests):
    async def test_a_reply_is_read_whole(self):
        received = await self.reply(Script(["Hello", ", wörld"], reasoning=["Hm."]))
        stream = received.stream

        assert (received.reasoning, received.text) == ("Hm.", "Hello, wörld")
        assert (stream.finish_reason, stream.end_reason) == ("end_turn", "stop")
        assert stream.usage == Usage(7, None, 4, None)
        assert stream.request_id == "req_loopback"

    async def test_each_delta_is_read_as_it_comes(self):
        gate = Gate()
        self.server.script(Script(["a", "b"], gates={1: gate}))
        async with self.provider().stream(PROMPT) as stream:
            assert await stream.read() == [Event("text", "a")]
            gate.open()
            assert await stream.read() == [Event("text", "b")]

    async def test_pings_are_reads_without_events(self):
        gate = Gate()
        self.server.script(Script(raw=_raw({"type": "ping"}, _start(), _end("end_turn"), STOP), gates={1: gate}))
        async with self.provider().stream(PROMPT) as stream:
            assert await stream.read() == []
            gate.open()
            while await stream.read() is not None:
                pass

    async def test_a_tool_call_is_one_whole_event(self):
        received = await self.reply(Script(["a"], tool_calls=[("one", '{"x": 1}'), ("two", "")]))

        assert received.tool_calls == [
            {"id": "call_0", "name": "one", "arguments": '{"x": 1}', "complete": True},
            {"id": "call_1", "name": "two", "arguments": "{}", "complete": True},
        ]

    async def test_arguments_may_come_at_once(self):
        block = {"type": "tool_use", "id": "1", "name": "one", "input": {"x": 1}}
        start = {"type": "content_block_start", "index": 0, "content_block": block}
        received = await self.reply(Script(raw=_raw(_start(), start, _end("tool_use"), STOP)))

        assert received.tool_calls == [{"id": "1", "name": "one", "arguments": '{"x": 1}', "complete": True}]

    async def test_a_tool_call_that_was_cut_is_a_leftover(self):
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "one"}}
        delta = {"type": "input_json_delta", "partial_json": '{"x":'}
        raw = _raw(_start(), start, {"type": "content_block_delta", "index": 0, "delta": delta})
        received = await self.reply(Script(raw=raw))

        assert received.code == "provider_truncated"
        assert received.tool_calls == []
        assert [event.payload for event in received.leftovers] == [
            {"id": "", "name": "one", "arguments": '{"x":', "complete": False}
        ]

    async def test_input_includes_what_the_cache_held(self):
        """Anthropic counts what it reads from its cache and writes to it beside input_tokens."""
        raw = _raw(
            _start(input_tokens=10, cache_read_input_tokens=200, cache_creation_input_tokens=30, output_tokens=1),
            _end("end_turn", output_tokens=5),
            STOP,
        )

        assert (await self.reply(Script(raw=raw))).stream.usage == Usage(240, 200, 5, None, 30)

    async def test_later_counts_replace_earlier_ones(self):
        """A compaction counts its own input at the start."""
        raw = _raw(
            _start(input_tokens=60_000, output_tokens=1), _end("end_turn", input_tokens=600, output_tokens=5), STOP
        )

        assert (await self.reply(Script(raw=raw))).stream.usage == Usage(600, None, 5, None)

    async def test_the_end_of_the_body_is_enough_after_a_stop_reason(self):
        received = await self.reply(Script(raw=_raw(_start(), _end("end_turn"))))

        assert received.error is None

    async def test_nothing_after_message_stop_is_read(self):
        error = {"type": "error", "error": {"type": "api_error"}}
        received = await self.reply(Script(raw=_raw(_start(), _end("end_turn"), STOP, error), writes="whole"))

        assert received.error is None

    async def test_a_body_that_is_no_stream_is_read_whole(self):
        script = Script(["Hello"], reasoning=["Hm."], tool_calls=[("one", '{"x": 1}')], as_json=True)
        received = await self.reply(script)

        assert (received.reasoning, received.text) == ("Hm.", "Hello")
        assert [(call["name"], call["arguments"]) for call in received.tool_calls] == [("one", '{"x": 1}')]
        assert received.stream.usage == Usage(7, None, 4, None)
        assert received.error is None

    async def test_whole_replies_use_their_connection_again(self):
        provider, before = self.provider(), self.server.connections
        for _ in range(5):
            assert (await receive(provider)).error is None

        assert self.server.connections == before + 1

    async def test_reads_are_aiohttps_own(self):
        self.server.script(Script())
        async with self.provider().stream(PROMPT) as stream:
            assert stream._receive.__name__ == "readany"


class FailureTests(ServedTests):
    async def test_what_came_before_a_fault_is_kept(self):
        for fault, code in {
            "cut": "provider_truncated",
            "drop": "provider_truncated",
            "reset": "provider_truncated",
            "error": "provider_error",
            "bad_json": "provider_protocol",
            "bad_utf8": "provider_protocol",
        }.items():
            with self.subTest(fault):
                received = await self.reply(Script(fault=fault, after=2))

                assert received.code == code
                assert received.text == "Hello, "

    async def test_error_events_become_codes(self):
        for kind, code, retryable in (
            ("overloaded_error", "provider_unavailable", True),
            ("rate_limit_error", "provider_rate_limited", True),
            ("authentication_error", "provider_auth", False),
            ("permission_error", "provider_auth", False),
            ("billing_error", "provider_auth", False),
            ("invalid_request_error", "provider_rejected", False),
            ("not_found_error", "provider_rejected", False),
            ("request_too_large", "context_too_long", False),
            ("timeout_error", "provider_timeout", True),
            ("api_error", "provider_error", True),
            ("error_of_tomorrow", "provider_error", True),
        ):
            with self.subTest(kind):
                script = Script(fault="error", after=1, error={"type": kind, "message": WORDS})
                error = (await self.reply(script)).error

                assert (error.code, error.retryable) == (code, retryable)
                assert WORDS not in repr(vars(error))

    async def test_statuses_become_codes(self):
        for status, kind, message, code, retryable in (
            (400, "invalid_request_error", "messages: roles must alternate", "provider_rejected", False),
            (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context_too_long", False),
            (401, "authentication_error", "invalid x-api-key", "provider_auth", False),
            (402, "billing_error", WORDS, "provider_auth", False),
            (403, "permission_error", WORDS, "provider_auth", False),
            (404, "not_found_error", "model: claude-of-yesterday", "model_unknown", False),
            (413, "request_too_large", WORDS, "context_too_long", False),
            (429, "rate_limit_error", WORDS, "provider_rate_limited", True),
            (500, "api_error", WORDS, "provider_unavailable", True),
            (529, "overloaded_error", WORDS, "provider_unavailable", True),
        ):
            with self.subTest(status=status, message=message):
                body = {"type": "error", "error": {"type": kind, "message": message}}
                error = (await self.reply(Script(status=status, body=body, headers={"retry-after": "3"}))).error

                assert (error.code, error.retryable, error.status) == (code, retryable, status)
                assert error.retry_after == 3
                assert error.request_id == "req_loopback"
                assert message not in repr(vars(error))

    async def test_an_error_in_a_body_that_is_no_stream(self):
        body = {"type": "error", "error": {"type": "overloaded_error", "message": WORDS}}
        received = await self.reply(Script(as_json=True, body=body))

        assert received.code == "provider_unavailable"

    async def test_events_of_unexpected_shape_are_unreadable(self):
        for payload in (
            {"type": "content_block_delta"},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 1}},
            {"type": "content_block_start"},
            {"type": "message_start", "message": 1},
            {"type": "message_delta", "delta": 1},
        ):
            with self.subTest(payload):
                received = await self.reply(Script(raw=f"data: {json.dumps(payload)}\n\n".encode()))

                assert received.code == "provider_protocol"

    async def test_leaving_closes_the_connection(self):
        self.server.script(Script(["a", "b"], gates={1: Gate()}))
        async with self.provider().stream(PROMPT) as stream:
            await stream.read()
        await self.server.until(lambda: self.server.calls[0].ended)

        assert self.server.calls[0].closed_early
        assert self.server.calls[0].deltas == ["a"]

    def test_no_repr_shows_the_key(self):
        provider = self.provider()

        assert KEY not in f"{provider!r} {vars(provider)!r} {vars(provider.clients)!r}"
