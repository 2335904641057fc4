from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import subprocess
import sys
import weakref
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.sse import Splitter
from streaming_chat.providers.base import Prompt, RunContext, Turn, Usage
from streaming_chat.providers.clients import Secret
from streaming_chat.providers.errors import opening_failure, reading_failure
from streaming_chat.providers.model_options import EFFORTS, ModelOptions
from streaming_chat.providers.openai import OpenAIProvider
from tests.provider_server import Gate, ProviderServer, Script, unused_port
from tests.received import PROMPT, Received, receive

pytestmark = pytest.mark.once

KEY = "sk-very-secret"
WORDS = "very private words"


@pytest.mark.slow
class ServedTests(SimpleTestCase):
    """Serves replies on loopback."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.made: dict[str, OpenAIProvider] = {}

    def setUp(self):
        self.server.clear()

    def provider(self, **options: Any) -> OpenAIProvider:
        """Return the provider with these options, one for all tests, as a site has it."""
        options = {"api_key": KEY, "base_url": self.server.openai_url, **options}
        return self.made.setdefault(repr(options), OpenAIProvider("openai", **options))

    async def reply(self, script: Script, **options: Any) -> Received:
        self.server.script(script)
        return await receive(self.provider(**options))


class RequestTests(ServedTests):
    async def test_the_body_is_the_prompt(self):
        await self.reply(Script())

        assert self.server.calls[0].path == "/v1/chat/completions"
        assert self.server.calls[0].body == {
            "model": "gpt-x",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": 100,
        }

    async def test_turns_keep_their_order_and_no_system_prompt_is_none(self):
        self.server.script(Script())
        turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
        await receive(self.provider(), Prompt(model="m", turns=turns))

        messages = self.server.calls[0].body["messages"]

        assert [Turn(message["role"], message["content"]) for message in messages] == list(turns)

    async def test_options_change_the_body(self):
        await self.reply(Script(), max_tokens_parameter="max_tokens", include_usage=False)

        body = self.server.calls[0].body

        assert body["max_tokens"] == 100
        assert "max_completion_tokens" not in body
        assert "stream_options" not in body

    async def test_a_server_is_asked_in_its_own_way_to_continue_a_turn(self):
        turns = (Turn("user", "a"), Turn("assistant", "b"))
        for prefill, last, body in (
            (None, {}, {}),
            ("message", {}, {}),
            ("prefix", {"prefix": True}, {}),
            ("continue_final_message", {}, {"continue_final_message": True, "add_generation_prompt": False}),
        ):
            with self.subTest(prefill):
                self.server.clear()
                provider = OpenAIProvider("openai", api_key=KEY, base_url=self.server.openai_url, prefill=prefill)
                await receive(provider, Prompt(model="m", turns=turns))
                asked = self.server.calls[0].body

                assert provider.prefills("m") == (prefill is not None)
                assert asked["messages"][-1] == {"role": "assistant", "content": "b", **last}
                assert (
                    asked.keys() - {"model", "messages", "stream", "max_completion_tokens", "stream_options"}
                    == body.keys()
                )
                assert asked | body == asked

    async def test_the_sites_parameters_and_headers_come_last(self):
        """A temperature is sent only then: current models refuse it."""
        parameters = {"temperature": 0.2, "logit_bias": {}}
        options = ModelOptions(parameters=parameters, headers={"X-Team": "one", "User-Agent": "ours"})
        await receive(self.provider(), PROMPT.replace(options=options))
        await receive(self.provider())
        first, second = self.server.calls

        assert first.body.items() >= parameters.items()
        assert (first.headers["x-team"], first.headers["user-agent"]) == ("one", "ours")
        assert "temperature" not in second.body
        assert "x-team" not in second.headers
        assert second.headers["user-agent"] != "ours"

    async def test_the_effort(self):
        for effort in EFFORTS:
            await receive(self.provider(), PROMPT.replace(options=ModelOptions(effort=effort)))
        sent = [call.body["reasoning_effort"] for call in self.server.calls]

        assert sent == ["none", "minimal", "low", "medium", "high", "xhigh", "xhigh"]

    def test_openai_itself_gets_the_nearest_effort_that_the_model_knows(self):
        provider = OpenAIProvider("openai", api_key=KEY)
        for model, sent in (("gpt-6-luna", "max"), ("gpt-5", "high"), ("gpt-4.1", None)):
            with self.subTest(model):
                body = provider.parameters(PROMPT.replace(model=model, options=ModelOptions(effort="max")))

                assert body.get("reasoning_effort") == sent

    async def test_openai_itself_is_told_one_owner_and_conversation_from_another(self):
        """By hashes. A compatible server may refuse what it does not know."""
        context = RunContext(user_id=77, owner_hash="0a1b", conversation_id=UUID(int=1))
        for address, keys in (
            ("http://api.openai.com/v1", {"safety_identifier": "0a1b", "prompt_cache_key": context.conversation_hash}),
            ("http://api.openai.com.example/v1", {}),
        ):
            with self.subTest(address), mock.patch.dict(os.environ, HTTP_PROXY=self.server.url):
                self.server.clear()
                provider = OpenAIProvider("openai", api_key=KEY, base_url=address)
                await receive(provider, PROMPT.replace(context=context))
                body = self.server.calls[0].body

                assert {name: body[name] for name in body if name.endswith(("identifier", "key"))} == keys
                assert str(context.conversation_id) not in str(body)

    def test_it_is_openai_without_an_address(self):
        context = RunContext(owner_hash="0a1b")
        body = OpenAIProvider("openai", api_key=KEY).parameters(PROMPT.replace(context=context))

        assert body["safety_identifier"] == "0a1b"
        assert "prompt_cache_key" not in body

    def test_an_unknown_way_is_refused(self):
        with self.assertRaisesMessage(ValueError, "prefill must be one of"):
            OpenAIProvider("openai", api_key=KEY, prefill="yes")

    async def test_the_key_is_sent_and_identity_is_asked_for(self):
        """A compressed stream would come in blocks."""
        await self.reply(Script(), organization="org-1", project="proj-1")

        headers = self.server.calls[0].headers

        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["accept-encoding"] == "identity"
        assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")

    async def test_the_environment_decides_nothing(self):
        self.made.clear()
        environment = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_ORG_ID": "x", "OPENAI_PROJECT_ID": "y"}
        with mock.patch.dict(os.environ, environment):
            received = await self.reply(Script())

        assert received.error is None
        assert not {"openai-organization", "openai-project"} & set(self.server.calls[0].headers)

    async def test_a_redirect_is_not_followed(self):
        """It would take the key and the conversation elsewhere."""
        received = await self.reply(Script(status=307, headers={"location": f"{self.server.url}/v1/elsewhere"}))

        assert received.code == "provider_rejected"
        assert len(self.server.calls) == 1

    async def test_nothing_is_asked_twice(self):
        """Retries are the runner's."""
        received = await self.reply(Script(status=500))

        assert received.code == "provider_unavailable"
        assert len(self.server.calls) == 1

    async def test_asking_for_a_stream_does_nothing_yet(self):
        self.provider().stream(PROMPT)

        assert self.server.calls == []


class ReplyTests(ServedTests):
    async def test_a_reply_is_read_whole(self):
        received = await self.reply(Script(["Hello", ", wörld"], reasoning=["Hm", "."]))
        stream = received.stream

        assert (received.reasoning, received.text) == ("Hm.", "Hello, wörld")
        assert (stream.finish_reason, stream.end_reason) == ("stop", "stop")
        assert stream.usage == Usage(7, None, 4, None)
        assert stream.request_id == "req_loopback"

    async def test_each_delta_is_read_as_it_comes(self):
        """The second is not written before the first was read."""
        gates = {number: Gate() for number in (1, 2)}
        self.server.script(Script(["a", "b", "c"], gates=gates))
        async with self.provider().stream(PROMPT) as stream:
            assert await stream.read() == [Event("text", "a")]
            gates[1].open()
            assert await stream.read() == [Event("text", "b")]
            gates[2].open()
            assert await stream.read() == [Event("text", "c")]

    async def test_a_ping_is_a_read_without_events(self):
        raw = b': ping\n\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n'
        self.server.script(Script(raw=raw, gates={1: Gate()}))
        async with self.provider().stream(PROMPT) as stream:
            assert await stream.read() == []

    async def test_the_last_read_returns_none_again_and_again(self):
        self.server.script(Script())
        async with self.provider().stream(PROMPT) as stream:
            while await stream.read() is not None:
                pass

            assert await stream.read() is None

    async def test_a_tool_call_is_one_whole_event(self):
        received = await self.reply(Script(["a"], tool_calls=[("one", '{"x": 1}'), ("two", "")]))

        assert received.tool_calls == [
            {"id": "call_0", "name": "one", "arguments": '{"x": 1}', "complete": True},
            {"id": "call_1", "name": "two", "arguments": "{}", "complete": True},
        ]
        assert received.stream.end_reason == "tool_calls"
        assert received.leftovers == []

    async def test_a_tool_call_that_was_cut_is_a_leftover(self):
        received = await self.reply(Script(["a"], tool_calls=[("one", '{"x": 1}')], fault="cut", after=2))

        assert received.tool_calls == []
        assert [event.payload["complete"] for event in received.leftovers] == [False]
        assert received.leftovers[0].payload["name"] == "one"

    async def test_arguments_cut_by_the_limit_are_not_complete(self):
        received = await self.reply(Script(tool_calls=[("one", '{"x": ')], finish="length"))

        assert [call["complete"] for call in received.tool_calls] == [False]

    async def test_a_body_that_is_no_stream_is_read_whole(self):
        script = Script(["Hello"], reasoning=["Hm."], tool_calls=[("one", "{}")], as_json=True)
        received = await self.reply(script)

        assert (received.reasoning, received.text) == ("Hm.", "Hello")
        assert [call["name"] for call in received.tool_calls] == ["one"]
        assert received.stream.usage == Usage(7, None, 4, None)
        assert received.error is None

    async def test_an_error_in_a_body_that_is_no_stream(self):
        body = {"error": {"message": WORDS, "code": "rate_limit_exceeded"}}
        received = await self.reply(Script(as_json=True, body=body))

        assert received.code == "provider_rate_limited"

    async def test_a_web_page_is_unreadable(self):
        received = await self.reply(Script(as_json=True, body=b"<html>", content_type="text/html"))

        assert received.code == "provider_protocol"

    async def test_a_compressed_stream_is_read(self):
        """Some servers compress whatever they are asked."""
        events = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        script = Script(
            as_json=True,
            body=gzip.compress(events),
            content_type="text/event-stream",
            headers={"content-encoding": "gzip"},
        )
        received = await self.reply(script)

        assert received.text == "a"
        assert received.error is None

    async def test_a_compressed_stream_leaves_the_others_their_turn(self):
        """A few bytes may be 48 MB of heartbeats, between which aiohttp never waits."""
        script = Script(
            as_json=True,
            body=gzip.compress(b": ping\n" * 8_000_000),
            content_type="text/event-stream",
            headers={"content-encoding": "gzip"},
        )
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count_turns())
        received = await self.reply(script)
        counting.cancel()

        assert received.code == "provider_truncated"
        assert turns >= len(received.reads) > 20

    async def test_other_framings_are_read(self):
        for framing in ("chunked", "length", "close"):
            with self.subTest(framing):
                received = await self.reply(Script(framing=framing))

                assert received.text == "Hello, wörld!"
                assert received.error is None

    async def test_reads_are_aiohttps_own(self):
        """The public iterators would work, and cost some 10 µs more a read."""
        self.server.script(Script())
        async with self.provider().stream(PROMPT) as stream:
            assert stream._receive.__name__ == "readany"


FAULTS = {
    "cut": "provider_truncated",
    "drop": "provider_truncated",
    "reset": "provider_truncated",
    "error": "provider_error",
    "bad_json": "provider_protocol",
    "bad_utf8": "provider_protocol",
}


class FailureTests(ServedTests):
    async def test_what_came_before_a_fault_is_kept(self):
        for fault, code in FAULTS.items():
            with self.subTest(fault):
                received = await self.reply(Script(fault=fault, after=2))

                assert received.code == code
                assert received.text == "Hello, "
                assert received.error.request_id == "req_loopback"

    async def test_events_before_an_error_in_the_same_read_come_first(self):
        self.server.script(Script(["a", "b"], fault="error", after=2, writes="whole"))
        async with self.provider().stream(PROMPT) as stream:
            assert await stream.read() == [Event("text", "a"), Event("text", "b")]
            for _ in range(2):
                with self.assertRaises(ProviderError) as caught:
                    await stream.read()

                assert caught.exception.code == "provider_error"

    async def test_a_connection_that_breaks_after_the_finish_breaks_nothing(self):
        for fault in ("cut", "drop", "reset"):
            with self.subTest(fault):
                received = await self.reply(Script(["a"], fault=fault, after=2))

                assert received.error is None
                assert received.stream.finish_reason == "stop"

    async def test_done_without_finish_or_usage_is_a_cut(self):
        received = await self.reply(Script(finish="", usage=None))

        assert received.code == "provider_truncated"
        assert received.text == "Hello, wörld!"

    async def test_statuses_become_codes(self):
        for status, code, retryable in (
            (400, "provider_rejected", False),
            (401, "provider_auth", False),
            (402, "provider_auth", False),
            (403, "provider_auth", False),
            (404, "provider_rejected", False),
            (408, "provider_timeout", True),
            (409, "provider_unavailable", True),
            (413, "context_too_long", False),
            (422, "provider_rejected", False),
            (429, "provider_rate_limited", True),
            (500, "provider_unavailable", True),
            (503, "provider_unavailable", True),
            (529, "provider_unavailable", True),
        ):
            with self.subTest(status):
                error = (await self.reply(Script(status=status, body={"error": {"message": WORDS}}))).error

                assert (error.code, error.retryable, error.status) == (code, retryable, status)
                assert error.request_id == "req_loopback"

    async def test_words_in_errors_become_codes(self):
        for status, error, code in (
            (400, {"code": "context_length_exceeded"}, "context_too_long"),
            (400, {"message": "This model's maximum context length is 8192 tokens."}, "context_too_long"),
            (400, {"message": "prompt is too long: 9 tokens > 8 maximum"}, "context_too_long"),
            (500, {"message": "the request exceeds the available context size"}, "context_too_long"),
            (404, {"code": "model_not_found"}, "model_unknown"),
            (404, {"message": "The model `x` does not exist"}, "model_unknown"),
            (404, {"message": "model 'x' not found, try pulling it first"}, "model_unknown"),
            (400, {"message": "x is not a valid model ID"}, "model_unknown"),
            (400, {"message": "API key not valid."}, "provider_auth"),
            (400, "just words", "provider_rejected"),
        ):
            with self.subTest(error=error):
                assert (await self.reply(Script(status=status, body={"error": error}))).code == code

    async def test_errors_of_any_shape_are_read(self):
        for body in (b"", b"<html>", b"[]", b'[{"error": {}}]', b"null", b'"words"', b'{"error": [1]}', b"\xff"):
            with self.subTest(body):
                assert (await self.reply(Script(status=400, body=body))).code == "provider_rejected"

    async def test_retry_after_is_seconds(self):
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
        for headers, least, most in (
            ({"retry-after": "7"}, 7, 7),
            ({"retry-after": "0.5"}, 0.5, 0.5),
            ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5, 1.5),
            ({"retry-after": soon}, 50, 60),
            ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
        ):
            with self.subTest(headers):
                error = (await self.reply(Script(status=429, headers=headers))).error

                assert least <= error.retry_after <= most

    async def test_retry_after_that_says_nothing_is_none(self):
        for headers in ({}, {"retry-after": "soon"}, {"retry-after": "inf"}, {"retry-after": "nan"}):
            with self.subTest(headers):
                assert (await self.reply(Script(status=429, headers=headers))).error.retry_after is None

    async def test_what_cannot_be_reached_is_unavailable(self):
        error = (await receive(self.provider(base_url=f"http://127.0.0.1:{unused_port()}/v1"))).error

        assert (error.code, error.retryable) == ("provider_unavailable", True)

    async def test_tls_that_is_none_is_unavailable(self):
        def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        plain = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
        port = plain.sockets[0].getsockname()[1]
        error = (await receive(self.provider(base_url=f"https://127.0.0.1:{port}/v1"))).error
        plain.close()

        assert (error.code, error.retryable) == ("provider_unavailable", True)

    async def test_a_connection_lost_before_the_headers_is_unavailable(self):
        for fault in ("drop", "reset"):
            with self.subTest(fault):
                error = (await self.reply(Script(fault=fault, after=-1))).error

                assert (error.code, error.retryable) == ("provider_unavailable", True)

    async def test_a_connection_that_is_not_accepted_times_out(self):
        """A handshake that is never answered: the listener does not speak TLS, and says nothing."""
        writers: list[asyncio.StreamWriter] = []
        silent = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        provider = self.provider(base_url=f"https://127.0.0.1:{port}/v1", connect_timeout=0.05)
        error = (await receive(provider)).error
        silent.close()
        writers.pop().close()

        assert (error.code, error.retryable) == ("provider_timeout", True)

    async def test_chunks_of_unexpected_shape_are_unreadable(self):
        for data in (
            '{"choices": 1}',
            '{"choices": [1]}',
            '{"choices": [{"delta": 1}]}',
            '{"choices": [{"delta": {"content": 1}}]}',
            '{"choices": [{"delta": {"tool_calls": [1]}}]}',
            '{"a": ' * 100_000,
        ):
            with self.subTest(data[:40]):
                received = await self.reply(Script(raw=f"data: {data}\n\n".encode()))

                assert received.code == "provider_protocol"

    async def test_unknown_fields_are_ignored(self):
        data = {"choices": [{"delta": {"content": "a", "new": {"x": 1}, "audio": None}, "new": 1}], "new": [1]}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": "x"}}
        raw = f"data: {json.dumps(data)}\n\ndata: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode()
        received = await self.reply(Script(raw=raw))

        assert received.text == "a"
        assert received.error is None
        assert received.stream.usage is None

    async def test_an_event_without_end_is_unreadable(self):
        with mock.patch.object(Splitter.__init__, "__defaults__", (1000,)):
            received = await self.reply(Script(raw=b"data: " + b"x" * 2000))

        assert received.code == "provider_protocol"

    def test_every_exception_becomes_a_code(self):
        """Whatever an SDK or a transport raises, before the first byte or in the middle."""
        for error in _every_exception():
            with self.subTest(type(error).__name__):
                opening, reading = opening_failure(error), reading_failure(error, "r")

                assert opening.code in CODES
                assert reading.code in CODES
                assert WORDS not in f"{opening.detail} {reading.detail} {opening} {reading}"


CODES = {
    "context_too_long",
    "provider_auth",
    "provider_rate_limited",
    "provider_unavailable",
    "provider_timeout",
    "provider_rejected",
    "provider_stall",
    "provider_truncated",
    "provider_protocol",
    "provider_error",
    "internal",
}


def _every_exception() -> list[Exception]:
    """One of each exception class of aiohttp and Python's own, as far as it can be made."""
    import aiohttp

    errors: list[Exception] = [ValueError(WORDS), KeyError(WORDS), OSError(WORDS), TimeoutError(WORDS), EOFError(WORDS)]
    errors += [json.JSONDecodeError(WORDS, "", 0), UnicodeDecodeError("utf-8", b"", 0, 1, WORDS)]
    for name in dir(aiohttp):
        kind = getattr(aiohttp, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            error = kind.__new__(kind)
            error.args = (WORDS,)
            errors.append(error)
    return errors


class SecrecyTests(ServedTests):
    async def test_no_failure_carries_what_the_provider_said(self):
        """Nor the exception it comes from, whose frames hold the key and the conversation."""
        for script in (Script(status=400, body={"error": {"message": WORDS}}), Script(fault="error")):
            with self.subTest(script.fault):
                error = (await self.reply(script)).error

                assert error.__cause__ is None
                assert error.__context__ is None
                assert WORDS not in repr(vars(error))
                assert "secret words" not in repr(vars(error))

    async def test_no_frame_of_a_failure_shows_text_or_key(self):
        """Error trackers record the repr of every local of every frame."""
        prompt = Prompt(model="m", system=WORDS, turns=(Turn("user", WORDS),))
        body = {"error": {"message": WORDS}}
        for script in (
            Script(status=400, body=body),
            Script(as_json=True, body=body),
            Script([WORDS], fault="cut", after=1),
            Script([WORDS], fault="bad_json"),
        ):
            self.server.script(script)
            error = (await receive(self.provider(), prompt)).error
            frames = error.__traceback__
            while frames is not None:
                if "/streaming_chat/" in frames.tb_frame.f_code.co_filename:
                    shown = repr(frames.tb_frame.f_locals)

                    assert WORDS not in shown
                    assert KEY not in shown
                frames = frames.tb_next

    def test_no_repr_shows_the_key(self):
        provider = self.provider()

        assert KEY not in f"{provider!r} {vars(provider)!r} {vars(provider.clients)!r}"
        assert repr(Secret(KEY)) == ""


class ConnectionTests(ServedTests):
    async def test_leaving_closes_the_connection(self):
        gate = Gate()
        self.server.script(Script(["a", "b"], gates={1: gate}))
        async with self.provider().stream(PROMPT) as stream:
            await stream.read()
        await self.server.until(lambda: self.server.calls[0].ended)

        assert self.server.calls[0].closed_early
        assert self.server.calls[0].deltas == ["a"]

    async def test_a_cancelled_read_closes_the_connection(self):
        gate = Gate()
        self.server.script(Script(gates={0: gate}))
        reading = asyncio.ensure_future(receive(self.provider()))
        await gate.until_reached()
        reading.cancel()
        await asyncio.wait([reading])
        await self.server.until(lambda: self.server.calls[0].ended)

        assert reading.cancelled()
        assert self.server.calls[0].closed_early

    async def test_a_cancelled_opening_closes_the_connection(self):
        self.server.script(Script(delay_headers=60))
        reading = asyncio.ensure_future(receive(self.provider()))
        await self.server.until_call()
        reading.cancel()
        await asyncio.wait([reading])
        await self.server.until(lambda: self.server.calls[0].ended)

        assert self.server.calls[0].closed_early

    async def test_an_endless_reply_ends_with_its_reader(self):
        self.server.script(Script(fault="endless"))
        async with self.provider().stream(PROMPT) as stream:
            while not await stream.read():
                pass
        await self.server.until(lambda: self.server.calls[0].ended)

        assert self.server.calls[0].closed_early

    async def test_whole_replies_use_their_connection_again(self):
        """A new one costs two round trips and a TLS handshake."""
        provider = self.provider()
        before = self.server.connections
        for _ in range(5):
            assert (await receive(provider)).error is None

        assert self.server.connections == before + 1

    async def test_200_replies_at_once_have_a_connection_each(self):
        """aiohttp's own limit is 100."""
        gate, provider, before = Gate(), self.provider(), self.server.connections
        self.server.by_model["gpt-x"] = Script(["a"], gates={0: gate})
        reading = asyncio.gather(*(receive(provider) for _ in range(200)))
        await self.server.until(lambda: len(self.server.calls) == 200)
        gate.open()
        replies = await reading
        del self.server.by_model["gpt-x"]

        assert [received.text for received in replies] == ["a"] * 200
        assert self.server.connections == before + 200

    def test_each_loop_has_a_client_and_none_stays(self):
        provider = self.provider()
        clients = []

        async def ask() -> None:
            assert (await receive(provider)).error is None
            clients.append(weakref.ref(await provider.clients.get()))
            assert len(provider.clients) == 1

        for _ in range(3):
            asyncio.run(ask())
        gc.collect()

        assert len(provider.clients) == 0
        assert [client() for client in clients] == [None] * 3

    def test_a_loop_that_was_closed_without_a_word_is_forgotten(self):
        provider = self.provider()
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(provider.clients.get())
            loop.close()

        assert len(provider.clients) == 1


class SetupTests(SimpleTestCase):
    @pytest.mark.slow
    def test_importing_the_module_imports_no_sdk(self):
        """An SDK takes 0.5-2.8 s and 50-80 MB."""
        code = "import sys, streaming_chat.providers.openai, streaming_chat.providers.anthropic\n"
        code += "print([name for name in ('openai', 'anthropic', 'aiohttp', 'httpx2') if name in sys.modules])"
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)

        assert output == "[]\n"

    def test_a_missing_sdk_is_named(self):
        with (
            mock.patch.dict(sys.modules, {"openai": None}),
            self.assertRaisesMessage(ImproperlyConfigured, "pip install 'streaming-chat[openai]'"),
        ):
            OpenAIProvider("openai", api_key=KEY)

    def test_options_of_every_provider(self):
        provider = OpenAIProvider("openai", api_key=KEY, stall_timeout=5, max_output_tokens=100)

        assert (provider.stall_timeout, provider.max_output_tokens) == (5, 100)
        assert (provider.connect_timeout, provider.first_event_timeout) == (5.0, 60.0)

    def test_unknown_options_and_values_out_of_range_are_refused(self):
        with self.assertRaisesMessage(TypeError, "OpenAIProvider has no option timeout"):
            OpenAIProvider("openai", api_key=KEY, timeout=1)
        with self.assertRaisesMessage(ValueError, "stall_timeout must be seconds, more than 0, got int"):
            OpenAIProvider("openai", api_key=KEY, stall_timeout=0)
