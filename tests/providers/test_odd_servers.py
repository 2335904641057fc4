"""What compatible servers and gateways do beside the specification, over both wire formats, and what comes of it."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from streaming_chat.providers import http
from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.base import Usage
from streaming_chat.providers.openai import OpenAIProvider
from tests.provider_server import Gate, ProviderServer, Script
from tests.received import PROMPT, Received, receive

pytestmark = [pytest.mark.once, pytest.mark.slow]

COMPLETE = Usage(11, None, 5, None)


def _data(payload: Any) -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"data: {text}\n\n".encode()


def openai(*chunks: Any, done: bool = True) -> bytes:
    """Return a stream of chunks; text is data as it stands."""
    return b"".join(map(_data, [*chunks, *(["[DONE]"] if done else [])]))


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}], **more}


def finish(word: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": word, **more}]}


def usage(**counts: Any) -> dict[str, Any]:
    return {"choices": [], "usage": counts}


COUNTED = usage(prompt_tokens=11, completion_tokens=5, total_tokens=16)


def anthropic(*payloads: Any, stop: bool = True) -> bytes:
    """Return a stream of a text and these payloads."""
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 11, "output_tokens": 1}}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "One."}}
    return b"".join(map(_data, [start, delta, *payloads, *([{"type": "message_stop"}] if stop else [])]))


def stopped(word: str, **counts: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": word}, "usage": {"output_tokens": 5, **counts}}


class ServedTests(SimpleTestCase):
    """Serves replies on loopback."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.openai = OpenAIProvider("openai", api_key="k", base_url=cls.server.openai_url)
        cls.anthropic = AnthropicProvider("anthropic", api_key="k", base_url=cls.server.anthropic_url)

    def setUp(self):
        self.server.clear()

    async def from_openai(self, *chunks: Any, **how: Any) -> Received:
        return await self.reply(self.openai, Script(raw=openai(*chunks), **how))

    async def from_anthropic(self, *payloads: Any, **how: Any) -> Received:
        return await self.reply(self.anthropic, Script(raw=anthropic(*payloads), **how))

    async def reply(self, provider: Any, script: Script) -> Received:
        self.server.script(script)
        return await receive(provider)


class FinishReasonTests(ServedTests):
    """A reply that failed is not finished, and one that was filtered says so."""

    async def test_a_failure_keeps_text_usage_and_word(self):
        for received in (
            await self.from_openai(text("One."), finish("time_limit"), COUNTED),
            await self.from_anthropic(stopped("time_limit")),
        ):
            assert received.code == "provider_timeout"
            assert received.text == "One."
            assert received.stream.usage == COMPLETE
            assert received.stream.finish_reason == "time_limit"

    async def test_it_is_interrupted(self):
        received = await self.from_openai(text("One."), finish("UNEXPECTED_TOOL_CALL"))
        ending = endings.broken(received.code, received=True)

        assert (ending.status, ending.end_reason) == ("interrupted", "provider_error")

    async def test_one_that_said_nothing_may_be_tried_again(self):
        error = (await self.from_openai(finish("insufficient_system_resource"), COUNTED)).error

        assert (error.code, error.retryable) == ("provider_unavailable", True)

    async def test_without_done_or_message_stop(self):
        for provider, raw in (
            (self.openai, openai(text("One."), finish("Aborted"), done=False)),
            (self.anthropic, anthropic(stopped("Aborted"), stop=False)),
        ):
            assert (await self.reply(provider, Script(raw=raw))).code == "provider_error"

    async def test_its_tool_calls_are_not_complete(self):
        call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
        received = await self.from_openai(
            {"choices": [{"delta": {"tool_calls": [call]}}]}, finish("malformed_tool_use")
        )

        assert received.tool_calls == []
        assert [event.payload["complete"] for event in received.leftovers] == [False]

    async def test_a_filter_that_leaves_nothing_is_no_failure(self):
        for received in (
            await self.from_openai(finish("image_safety")),
            await self.from_anthropic(stopped("Sensitive")),
        ):
            assert received.error is None
            assert received.stream.end_reason == "content_filter"

    async def test_the_word_behind_a_gateway_tells_more(self):
        for word, native, code, end_reason in (
            ("stop", "RECITATION", "", "content_filter"),
            ("stop", "network_error", "provider_unavailable", "stop"),
            ("error", "SPII", "", "content_filter"),
            ("length", "max_tokens", "", "length"),
            ("stop", "word_of_2031", "", "stop"),
        ):
            with self.subTest(native=native):
                received = await self.from_openai(text("One."), finish(word, native_finish_reason=native))

                assert (received.code, received.stream.end_reason) == (code, end_reason)

    async def test_null_as_a_word_is_none(self):
        received = await self.from_openai({"choices": [{"delta": {"content": "a"}, "finish_reason": "null"}]})

        assert received.code == "provider_truncated"

    async def test_a_whole_body_that_failed(self):
        received = await self.reply(self.openai, Script(as_json=True, finish="ERROR"))

        assert received.text == "Hello, wörld!"
        assert received.code == "provider_error"


class AfterTheFinishTests(ServedTests):
    """The provider has said that it is done; nothing that follows, or does not, costs the reply."""

    async def test_it_is_awaited_for_seconds_only(self):
        """Whatever keeps the connection open: silence, or heartbeats that would keep it open for ever."""
        for fault in ("stall", "heartbeats"):
            for provider, raw in (
                (self.openai, openai(text("One."), finish("length"), COUNTED, done=False)),
                (self.anthropic, anthropic(stopped("max_tokens"), stop=False)),
            ):
                with self.subTest(fault, provider=provider.alias), mock.patch.object(http, "FINISH_SECONDS", 0.05):
                    received = await self.reply(provider, Script(raw=raw, fault=fault, after=3))

                    assert received.error is None
                    assert received.text == "One."
                    assert received.stream.end_reason == "length"
                    assert received.stream.usage == COMPLETE

    async def test_a_failure_is_not_awaited_longer(self):
        raw = openai(text("One."), finish("abort"), done=False)
        with mock.patch.object(http, "FINISH_SECONDS", 0.05):
            received = await self.reply(self.openai, Script(raw=raw, fault="heartbeats", after=2))

        assert received.code == "provider_error"

    async def test_usage_is_awaited(self):
        gate = Gate()
        raw = openai(text("One."), finish("stop"), COUNTED)
        self.server.script(Script(raw=raw, gates={2: gate}))
        async with self.openai.stream(PROMPT) as stream:
            while not stream.finish_reason:
                await stream.read()
            gate.open()
            while await stream.read() is not None:
                pass

            assert stream.usage == COMPLETE

    async def test_text_after_it_is_kept(self):
        """Some servers send the finish reason with every chunk, or too early."""
        received = await self.from_openai(finish("stop"), text("One."), text(" Two."))

        assert received.text == "One. Two."

    async def test_what_cannot_be_read_is_ignored(self):
        for junk in (
            '{"cost": 0.1,',
            "[END]",
            "{",
            "\\x00",
            '"',
            '{"choices": 7}',
            '{"choices": [{"delta": 1}]}',
            "[[]]",
        ):
            for writes in ("event", "whole"):
                with self.subTest(junk, writes=writes):
                    received = await self.from_openai(text("One."), finish("stop"), junk, COUNTED, writes=writes)

                    assert received.error is None
                    assert received.text == "One."
                    assert received.stream.usage == COMPLETE

    async def test_the_same_from_anthropic(self):
        for junk in ("{", "[END]", '{"type": "content_block_delta"}', '{"type": "message_delta", "delta": 1}'):
            with self.subTest(junk):
                received = await self.from_anthropic(stopped("end_turn"), junk)

                assert received.error is None
                assert received.stream.finish_reason == "end_turn"

    async def test_an_event_without_end_is_ignored(self):
        raw = openai(text("One."), finish("stop"), done=False) + b"data: " + b"x" * 9 * 1024 * 1024
        received = await self.reply(self.openai, Script(raw=raw))

        assert received.error is None

    async def test_an_error_that_is_reported_counts(self):
        received = await self.from_openai(text("One."), finish("length"), {"error": {"code": 502, "message": "x"}})

        assert received.code == "provider_unavailable"


class FillerTests(ServedTests):
    """Data without an object holds no text."""

    async def test_in_the_middle_it_is_ignored(self):
        for filler in ("null", "true", "0", '""', "[]", "{}", "ping", ": keep-alive", "[PING]"):
            with self.subTest(filler):
                received = await self.from_openai(text("One."), filler, text(" Two."), finish("stop"))

                assert received.error is None
                assert received.text == "One. Two."
                assert (await self.from_anthropic(filler, stopped("end_turn"))).error is None

    async def test_damaged_json_is_not(self):
        """It may have held text."""
        for damaged in ('{"choices": [{"delta": {"content": "Tw', 'tent": "Two"}}]}'):
            with self.subTest(damaged):
                received = await self.from_openai(text("One."), damaged, finish("stop"))

                assert received.code == "provider_protocol"
                assert received.text == "One."


class UsageTests(ServedTests):
    async def test_odd_usage_costs_nothing(self):
        for odd in ("11/5", 7, [1], True, {"prompt_tokens": "many"}, {"prompt_tokens": None}, {"prompt_tokens": -1}):
            with self.subTest(odd=odd):
                received = await self.from_openai(
                    text("One.", usage=odd), finish("stop"), {"choices": [], "usage": odd}
                )

                assert received.error is None
                assert received.text == "One."
                assert received.stream.usage is None
                end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": odd}
                assert (await self.from_anthropic(end)).error is None

    async def test_odd_details_cost_nothing(self):
        odd = {**COUNTED["usage"], "prompt_tokens_details": "x", "completion_tokens_details": [1]}
        received = await self.from_openai(text("One."), finish("stop"), {"choices": [], "usage": odd})

        assert received.stream.usage == COMPLETE

    async def test_counts_of_other_types(self):
        received = await self.from_openai(
            text("One."), finish("stop"), usage(prompt_tokens="11", completion_tokens=5.0)
        )

        assert received.stream.usage == COMPLETE

    async def test_less_does_not_replace_more(self):
        for later in ({"prompt_tokens": 11}, {"total_tokens": 16}, {"cost": 0.1}, {"completion_tokens": 0}):
            with self.subTest(later=later):
                received = await self.from_openai(text("One."), finish("stop"), COUNTED, usage(**later))

                assert received.stream.usage == COMPLETE

    async def test_a_zero_from_anthropic_does_not_replace_a_count(self):
        received = await self.from_anthropic(stopped("end_turn", input_tokens=0))

        assert received.stream.usage == COMPLETE

    async def test_more_replaces_less(self):
        received = await self.from_openai(
            text("One.", usage={"prompt_tokens": 11, "completion_tokens": 1}), finish("stop"), COUNTED
        )

        assert received.stream.usage == COMPLETE

    async def test_it_may_be_in_the_choice(self):
        received = await self.from_openai(text("One."), finish("stop", usage=COUNTED["usage"]))

        assert received.stream.usage == COMPLETE


LABELS = ("text/plain; charset=utf-8", "application/json", "text/html", "application/octet-stream", None)


class ContentTypeTests(ServedTests):
    """The first line decides, not the header."""

    async def test_an_event_stream_under_any_label_is_read_as_it_comes(self):
        for label in (*LABELS, "text/event-stream, application/json", "Text/Event-Stream"):
            for provider in (self.openai, self.anthropic):
                with self.subTest(label, provider=provider.alias):
                    gate = Gate()
                    self.server.script(Script(["One.", " Two."], gates={1: gate}, content_type=label))
                    async with provider.stream(PROMPT) as stream:
                        assert await stream.read() == [Event("text", "One.")]
                        gate.open()
                        while await stream.read() is not None:
                            pass

    async def test_any_field_may_come_first(self):
        for first in (
            b": hello\n\n",
            b"event: message\n",
            b"id: 1\n",
            b"retry: 3000\n\n",
            b"\n\n",
            b"\xef\xbb\xbf",
            b"data\n",
        ):
            with self.subTest(first):
                raw = first + openai(text("One."), finish("stop"))
                received = await self.reply(self.openai, Script(raw=raw, content_type="text/plain"))

                assert received.error is None
                assert received.text == "One."

    async def test_the_first_line_may_come_in_pieces(self):
        raw = b"\xef\xbb\xbf" + openai(text("One."), finish("stop"))
        received = await self.reply(self.openai, Script(raw=raw, content_type="text/plain", writes=list(range(1, 12))))

        assert received.text == "One."

    async def test_an_answer_in_one_body_under_any_label(self):
        for label in (*LABELS, "text/event-stream"):
            for provider in (self.openai, self.anthropic):
                with self.subTest(label, provider=provider.alias):
                    received = await self.reply(provider, Script(["One."], as_json=True, content_type=label))

                    assert received.error is None
                    assert received.text == "One."
                    assert received.stream.end_reason == "stop"
                    assert received.stream.usage == Usage(7, None, 4, None)

    async def test_an_error_in_one_body_under_any_label(self):
        body = {"object": "error", "message": "The model `x` does not exist.", "code": 404}
        for label in (*LABELS, "text/event-stream"):
            for provider in (self.openai, self.anthropic):
                with self.subTest(label, provider=provider.alias):
                    script = Script(as_json=True, body=body, content_type=label)

                    assert (await self.reply(provider, script)).code == "model_unknown"

    async def test_chunks_in_one_list(self):
        body = [text("One."), text(" Two."), finish("stop")]

        assert (await self.reply(self.openai, Script(as_json=True, body=body))).text == "One. Two."

    async def test_anything_else_is_unreadable(self):
        for body in (b"<html>", b"Bad gateway, please try again", b"data"):
            with self.subTest(body):
                script = Script(as_json=True, body=body, content_type="text/plain")

                assert (await self.reply(self.openai, script)).code == "provider_protocol"

    async def test_an_empty_body_is_cut(self):
        for label in LABELS:
            with self.subTest(label):
                error = (await self.reply(self.openai, Script(raw=b"", content_type=label))).error

                assert (error.code, error.retryable) == ("provider_truncated", True)


class ThinkingTests(ServedTests):
    async def test_reasoning_between_tags(self):
        deltas = ["<thi", "nk>\nHm", ".\n</think>", "\n\n", "Yes", "."]
        for provider in (self.openai, self.anthropic):
            for how in ({}, {"writes": "whole"}, {"as_json": True}):
                with self.subTest(provider.alias, how=how):
                    received = await self.reply(provider, Script(deltas, **how))

                    assert (received.reasoning, received.text) == ("Hm.", "Yes.")

    async def test_reasoning_that_the_template_opened(self):
        for how in ({"writes": "whole"}, {"as_json": True}):
            received = await self.reply(self.openai, Script(["Hm.", "\n</think>\n\n", "Yes."], **how))

            assert (received.reasoning, received.text) == ("Hm.", "Yes.")

    async def test_what_was_held_comes_before_an_error(self):
        received = await self.reply(self.openai, Script(["\n", "<th"], fault="error", after=2))

        assert received.text == "\n<th"
        assert received.code == "provider_error"


class ErrorInsideTests(ServedTests):
    async def test_an_error_without_a_wrapper(self):
        """As vLLM, SGLang and DashScope send it: it is not tried again."""
        for payload in (
            {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (8 tokens).",
             "type": "BadRequestError", "code": 400},
            {"code": "InvalidParameter", "message": "Range of input length should be [1, 8]"},
        ):  # fmt: skip
            for received in (await self.from_openai(payload), await self.from_anthropic(payload)):
                assert (received.code, received.error.retryable) == ("context_too_long", False)

    async def test_an_error_beside_the_finish_reason(self):
        chunk = {**finish("error"), "error": {"code": 429, "message": "Rate limited"}}

        assert (await self.from_openai(text("One."), chunk)).code == "provider_rate_limited"
