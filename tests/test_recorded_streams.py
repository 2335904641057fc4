"""Recorded streams of real providers, and short ones written after their peculiarities, through the providers.

Recordings are read from STREAMING_CHAT_STREAMS, or from ../shared/streams beside the repository; each has its expected
reply in expected.json. They are not part of the repository; the short ones below always run.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.http import HttpStream
from streaming_chat.providers.openai import OpenAIProvider
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider

from . import recorded_responses
from .provider_server import ProviderServer, Script, blocks
from .received import PROMPT, Received, receive

pytestmark = pytest.mark.once

STREAMS = Path(
    os.environ.get("STREAMING_CHAT_STREAMS") or Path(__file__).resolve().parent.parent.parent / "shared" / "streams"
)


class Recording(NamedTuple):
    """One stream. wire: "openai", "responses" or "anthropic".

    expect: text, reasoning, tool_calls, sources, finish_reason, end_reason, usage, error.
    """

    name: str
    wire: str
    raw: bytes
    expect: dict[str, Any]


def _chunks(*chunks: object, done: bool = True) -> bytes:
    lines = [chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}" for chunk in chunks]
    return "".join(f"{line}\n\n" for line in [*lines, *(["data: [DONE]"] if done else [])]).encode()


def _delta(finish: str | None = None, /, **delta: object) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _messages(*payloads: dict[str, Any]) -> bytes:
    return "".join(f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n" for payload in payloads).encode()


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _annotation(url: str) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": {"url": url, "title": "A page", "start_index": 0, "end_index": 2}}


_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
_ARGUMENTS = '{"city": "Köln"}'
_START = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}}
_STOP = {"type": "message_stop"}
_FOUND = {"type": "web_search_result_location", "title": "A page", "cited_text": "…", "encrypted_index": "x"}


def _end(reason: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 2}}


SHORT = [
    Recording(
        "content in parts",
        "openai",
        _chunks(
            _delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
            _delta(content=[{"type": "text", "text": "Ja"}, {"type": "reference", "reference_ids": [1]}, "!"]),
            _delta("stop", content=""),
        ),
        {"text": "Ja!", "reasoning": "Hm.", "finish_reason": "stop"},
    ),
    Recording(
        "reasoning_content",
        "openai",
        _chunks(_delta(reasoning_content="Hm."), _delta(content="Ja", reasoning_content=None), _delta("stop")),
        {"text": "Ja", "reasoning": "Hm.", "finish_reason": "stop"},
    ),
    Recording(
        "reasoning with details that repeat it",
        "openai",
        _chunks(
            _delta(content="", reasoning="Hm", reasoning_details=[{"type": "reasoning.text", "text": "Hm"}]),
            _delta(content="", reasoning_details=[{"type": "reasoning.text", "text": "Hm", "signature": "x"}]),
            _delta("stop", content="Ja"),
        ),
        {"text": "Ja", "reasoning": "Hm", "finish_reason": "stop"},
    ),
    Recording(
        "reasoning in details alone",
        "openai",
        _chunks(
            _delta(content="", reasoning_details=[{"type": "reasoning.summary", "summary": "Hm"}]),
            _delta(content="", reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]),
            _delta("stop", content="Ja"),
        ),
        {"text": "Ja", "reasoning": "Hm", "finish_reason": "stop"},
    ),
    Recording(
        "no choices first, usage in a chunk of its own",
        "openai",
        _chunks(
            {"choices": [], "prompt_filter_results": []},
            _delta(content="Ja"),
            _delta("stop"),
            {"choices": [], "usage": _USAGE},
        ),
        {"text": "Ja", "finish_reason": "stop", "usage": _USAGE},
    ),
    Recording(
        "usage on each chunk",
        "openai",
        _chunks(
            {**_delta(content="J"), "usage": {**_USAGE, "completion_tokens": 1}},
            {**_delta("length", content="a"), "usage": _USAGE},
        ),
        {"text": "Ja", "finish_reason": "length", "usage": _USAGE},
    ),
    Recording(
        "usage under x_groq",
        "openai",
        _chunks(_delta(content="Ja"), {**_delta("stop"), "x_groq": {"id": "r", "usage": _USAGE}}),
        {"text": "Ja", "finish_reason": "stop", "usage": _USAGE},
    ),
    Recording(
        "several finish reasons, the last counts",
        "openai",
        _chunks(_delta("stop", content="Ja"), _delta("length"), _delta("error")),
        {"text": "Ja", "finish_reason": "length"},
    ),
    Recording(
        "no finish reason, but usage",
        "openai",
        _chunks(_delta(content="Ja"), {**_delta(content=""), "usage": _USAGE}),
        {"text": "Ja", "usage": _USAGE},
    ),
    Recording(
        "no [DONE]",
        "openai",
        _chunks(_delta("stop", content="Ja"), done=False),
        {"text": "Ja", "finish_reason": "stop"},
    ),
    Recording(
        "comments, ids, retries and events of the server's own",
        "openai",
        _chunks(
            ": OPENROUTER PROCESSING",
            "retry: 3000\nid: 7\n" + f"data: {json.dumps(_delta(content='Ja'))}",
            "event: keepalive\ndata: now",
            "event: message\n" + f"data: {json.dumps(_delta('stop'))}",
        )
        + b"data: after the end\n\n",
        {"text": "Ja", "finish_reason": "stop"},
    ),
    Recording(
        "an error beside a normal chunk",
        "openai",
        _chunks(_delta(content="J"), {**_delta(content="a"), "error": {"code": 502, "message": "secret words"}}),
        {"text": "Ja", "error": "provider_unavailable"},
    ),
    Recording(
        "an error event",
        "openai",
        _chunks(
            _delta(content="Ja"), 'event: error\ndata: {"error":{"message":"x","code":"tool_use_failed"}}', done=False
        ),
        {"text": "Ja", "error": "provider_error"},
    ),
    Recording(
        "an error in words",
        "openai",
        _chunks(_delta(content="Ja"), "event: error\ndata: out of memory", done=False),
        {"text": "Ja", "error": "provider_error"},
    ),
    Recording(
        "a finish reason that says error",
        "openai",
        _chunks(_delta(content="Ja"), _delta("error")),
        {"text": "Ja", "error": "provider_error"},
    ),
    Recording(
        "a refusal",
        "openai",
        _chunks(_delta(content=None, refusal="I can't"), _delta(refusal=" do that."), _delta("stop")),
        {"text": "I can't do that.", "finish_reason": "stop", "end_reason": "content_filter"},
    ),
    Recording(
        "annotations",
        "openai",
        _chunks(
            _delta(content="J", annotations=[]),
            _delta(content="a", annotations=[_annotation("https://a.example/"), {"type": "file"}, None]),
            _delta("stop", annotations=[_annotation("https://b.example/"), _annotation("https://a.example/")]),
        ),
        {"text": "Ja", "sources": ["https://a.example/", "https://b.example/"], "finish_reason": "stop"},
    ),
    Recording(
        "a tool call in pieces",
        "openai",
        _chunks(
            _delta(role="assistant", content=None, tool_calls=[_CALL]),
            *(
                _delta(tool_calls=[{"index": 0, "id": "null", "function": {"name": "", "arguments": piece}}])
                for piece in (_ARGUMENTS[:7], _ARGUMENTS[7:])
            ),
            _delta("tool_calls"),
        ),
        {"tool_calls": [{"name": "weather", "arguments": _ARGUMENTS}], "finish_reason": "tool_calls"},
    ),
    Recording(
        "a tool call with id, name and arguments repeated",
        "openai",
        _chunks(
            *(
                _delta(tool_calls=[{**_CALL, "function": {"name": "weather", "arguments": arguments}}])
                for arguments in ("", _ARGUMENTS, _ARGUMENTS)
            ),
            _delta("stop"),
        ),
        {"tool_calls": [{"name": "weather", "arguments": _ARGUMENTS}], "finish_reason": "stop"},
    ),
    Recording(
        "two whole tool calls of one number",
        "openai",
        _chunks(
            *(
                _delta(tool_calls=[{**_CALL, "id": name, "function": {"name": "weather", "arguments": "{}"}}])
                for name in ("a", "b")
            ),
            _delta("tool_calls"),
        ),
        {"tool_calls": [{"name": "weather", "arguments": "{}"}] * 2, "finish_reason": "tool_calls"},
    ),
    Recording(
        "tool calls without numbers, arguments as an object",
        "openai",
        _chunks(
            _delta(tool_calls=[{"function": {"name": name, "arguments": {"n": 1}}} for name in ("one", "two")]),
            _delta("tool_calls"),
        ),
        {
            "tool_calls": [{"name": name, "arguments": '{"n": 1}'} for name in ("one", "two")],
            "finish_reason": "tool_calls",
        },
    ),
    Recording(
        "a tool call with a new id at each piece",
        "openai",
        _chunks(
            _delta(tool_calls=[_CALL]),
            _delta(tool_calls=[{"index": 0, "id": "x", "function": {"name": None, "arguments": '{"city": '}}]),
            _delta(tool_calls=[{"index": 0, "id": "y", "function": {"name": None, "arguments": '"Köln"}'}}]),
            _delta("tool_calls"),
        ),
        {"tool_calls": [{"name": "weather", "arguments": _ARGUMENTS}], "finish_reason": "tool_calls"},
    ),
    Recording(
        "a function call, the form before tools",
        "openai",
        _chunks(
            _delta(function_call={"name": "weather", "arguments": ""}),
            _delta(function_call={"arguments": _ARGUMENTS}),
            _delta("function_call"),
        ),
        {
            "tool_calls": [{"name": "weather", "arguments": _ARGUMENTS}],
            "finish_reason": "function_call",
            "end_reason": "tool_calls",
        },
    ),
    Recording(
        "two choices, the first counts",
        "openai",
        _chunks(
            {"choices": [{"index": 1, "delta": {"content": "Nein"}}, {"index": 0, "delta": {"content": "Ja"}}]},
            {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
            _delta("stop"),
        ),
        {"text": "Ja", "finish_reason": "stop"},
    ),
    Recording(
        "surrogates as escapes, in two events",
        "openai",
        _chunks(_delta(content="\ud83d"), _delta("stop", content="\ude00")),
        {"text": "\ud83d\ude00", "finish_reason": "stop"},
    ),
    Recording(
        "a whole completion as one event",
        "openai",
        _chunks({"choices": [{"index": 0, "message": {"content": "Ja"}, "finish_reason": "stop"}]}),
        {"text": "Ja", "finish_reason": "stop"},
    ),
    Recording(
        "text in several blocks, around thinking",
        "anthropic",
        _messages(
            _START,
            *_block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm."}),
            *_block(1, {"type": "redacted_thinking", "data": "x"}),
            *_block(
                2,
                {"type": "text", "text": "J"},
                {"type": "citations_delta", "citation": {}},
                {"type": "citations_delta", "citation": {"type": "char_location", "document_title": "Ours"}},
                {"type": "citations_delta", "citation": {**_FOUND, "url": "https://a.example/"}},
                {"type": "citations_delta", "citation": {**_FOUND, "url": "https://b.example/"}},
                {"type": "citations_delta", "citation": {**_FOUND, "url": "https://a.example/"}},
            ),
            {"type": "ping"},
            *_block(3, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}),
            _end("end_turn"),
            _STOP,
        ),
        {
            "text": "Ja",
            "reasoning": "Hm.",
            "sources": ["https://a.example/", "https://b.example/"],
            "finish_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 2},
        },
    ),
    Recording(
        "pause_turn after a tool of the server's own",
        "anthropic",
        _messages(
            _START,
            *_block(
                0,
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"query":'},
                {"type": "input_json_delta", "partial_json": '"x"}'},
            ),
            *_block(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
            *_block(2, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "old"}),
            *_block(3, {"type": "of_tomorrow", "text": "?"}, {"type": "delta_of_tomorrow", "text": "?"}),
            {"type": "event_of_tomorrow"},
            _end("pause_turn"),
            _STOP,
        ),
        {"tool_calls": [{"name": "web_search", "arguments": '{"query":"x"}'}], "finish_reason": "pause_turn"},
    ),
    Recording(
        "a refusal without text",
        "anthropic",
        _messages(_START, _end("refusal"), _STOP),
        {"finish_reason": "refusal", "end_reason": "content_filter"},
    ),
    Recording(
        "an error event of the service",
        "anthropic",
        _messages(
            _START,
            *_block(0, {"type": "text", "text": "Ja"}),
            {"type": "error", "error": {"type": "overloaded_error", "message": "secret words"}},
        ),
        {"text": "Ja", "error": "provider_unavailable"},
    ),
    Recording(
        "no message_stop, and a word of other APIs",
        "anthropic",
        _messages(_START, *_block(0, {"type": "text", "text": "Ja"}), _end("max_tokens")) + b"data: [DONE]\n\n",
        {"text": "Ja", "finish_reason": "max_tokens", "end_reason": "length"},
    ),
]


def _cited(raw: bytes) -> list[str]:
    """Return the pages that a recording of Anthropic's API cites, which its judge left out."""
    return list(dict.fromkeys(re.findall(r'"citation":\{[^{}]*"url":"([^"]+)"', raw.decode())))


def _recordings() -> list[Recording]:
    index = STREAMS / "expected.json"
    expected = json.loads(index.read_text()) if index.exists() else {}
    recordings = [
        Recording(name, wire, raw := (STREAMS / name).read_bytes(), {**entry["expect"], "sources": _cited(raw)})
        for name, entry in sorted(expected.items())
        for folder, wire in (("openai-chat/", "openai"), ("anthropic/", "anthropic"))
        if name.startswith(folder)
    ]
    responses = recorded_responses.SHORT + [
        response
        for name, entry in sorted(expected.items())
        if name.startswith("openai-responses/")
        for response in recorded_responses.divided(name, (STREAMS / name).read_bytes(), entry["expect"])
    ]
    return SHORT + recordings + [Recording(name, "responses", raw, expect) for name, raw, expect in responses]


RECORDINGS = _recordings()

END_REASONS = {
    "refusal": "content_filter",
    "content_filter": "content_filter",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "length": "length",
    "tool_use": "tool_calls",
    "tool_calls": "tool_calls",
}


@pytest.mark.slow
class RecordedStreamTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.providers = {
            "openai": OpenAIProvider("openai", api_key="k", base_url=cls.server.openai_url),
            "responses": OpenAIResponsesProvider("responses", api_key="k", base_url=cls.server.openai_url),
            "anthropic": AnthropicProvider("anthropic", api_key="k", base_url=cls.server.anthropic_url),
        }

    async def test_each_gives_its_reply(self):
        for recording in RECORDINGS:
            with self.subTest(recording.name):
                received = await self._served(recording)

                self._check(received, recording.expect)

    async def test_each_gives_its_reply_split_at_random_bytes(self):
        for seed, recording in enumerate(RECORDINGS):
            with self.subTest(recording.name):
                received = await self._served(recording, writes="random", seed=seed)

                self._check(received, recording.expect)

    async def test_each_gives_its_reply_in_one_write(self):
        for recording in RECORDINGS:
            with self.subTest(recording.name):
                received = await self._served(recording, writes="whole")

                self._check(received, recording.expect)

    async def test_each_gives_its_reply_with_crlf_and_a_bom(self):
        for seed, recording in enumerate(RECORDINGS):
            with self.subTest(recording.name):
                received = await self._served(recording, crlf=True, bom=True, writes="random", seed=seed)

                self._check(received, recording.expect)

    async def test_a_cut_connection_is_complete_only_with_a_finish_inside(self):
        for seed, recording in enumerate(RECORDINGS):
            count = len(blocks(recording.raw))
            places = random.Random(seed).sample(range(count), min(count, 4))
            for fault, after in zip(("cut", "drop", "reset", "cut"), places, strict=False):
                with self.subTest(recording.name, fault=fault, after=after):
                    received = await self._served(recording, fault=fault, after=after)

                    prefix = b"".join(blocks(recording.raw)[:after])
                    self._check_cut(received, recording, prefix)

    def test_a_cut_at_every_event_is_complete_only_with_a_finish_inside(self):
        """Without a connection, so that each of some 4 000 places can be tried."""
        for recording in RECORDINGS:
            prefix = b""
            for block in [b"", *blocks(recording.raw)]:
                prefix += block
                with self.subTest(recording.name, bytes=len(prefix)):
                    received = self._fed(recording, prefix)

                    self._check_cut(received, recording, prefix)

    async def _served(self, recording: Recording, **how: Any) -> Received:
        self.server.script(Script(raw=recording.raw, **how))
        return await receive(self.providers[recording.wire])

    def _fed(self, recording: Recording, data: bytes) -> Received:
        stream = self.providers[recording.wire].stream(PROMPT)
        assert isinstance(stream, HttpStream)
        events: list[Any] = []
        stream._take(data, events)
        stream._take_rest(events)
        stream._end_body(stream._truncated())
        return Received(stream, [events], stream._failure)

    def _check(self, received: Received, expect: dict[str, Any]) -> None:
        stream = received.stream

        assert received.text == expect.get("text", "")
        assert received.reasoning == expect.get("reasoning", "")
        assert bool(received.error) == ("error" in expect), received.error
        if isinstance(expect.get("error"), str):
            assert received.code == expect["error"]
        assert _calls(received.tool_calls) == _expected_calls(expect.get("tool_calls", []))
        assert all(call["complete"] for call in received.tool_calls)
        assert [source["url"] for source in received.sources] == expect.get("sources", [])
        assert stream.finish_reason == expect.get("finish_reason", "")
        if not received.error:
            assert stream.end_reason == expect.get("end_reason", END_REASONS.get(stream.finish_reason, "stop"))
        if "usage" in expect:
            assert list(stream.usage) == _expected_usage(expect["usage"])

    def _check_cut(self, received: Received, recording: Recording, prefix: bytes) -> None:
        assert recording.expect.get("text", "").startswith(received.text)
        assert recording.expect.get("reasoning", "").startswith(received.reasoning)
        if received.error is None:
            assert _finish_inside(prefix)
        elif not _finish_inside(prefix):
            assert received.code == "provider_truncated" or "error" in recording.expect


def _finish_inside(prefix: bytes) -> bool:
    if re.search(rb'"(finish|stop)_reason": ?"(?!error")', prefix) or b'"message_stop"' in prefix:
        return True
    if re.search(rb'"response\.(completed|incomplete)"', prefix):
        return True
    return b"[DONE]" in prefix and bool(re.search(rb'"usage": ?\{', prefix))


def _calls(calls: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(call["name"], json.loads(call["arguments"])) for call in calls]


def _expected_calls(calls: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The recordings' judge joins the names of a call's deltas even where a server repeats the name in each."""
    return [(re.sub(r"^(.+)\1$", r"\1", name), arguments) for name, arguments in _calls(calls)]


def _expected_usage(usage: dict[str, Any]) -> list[int | None]:
    """What Usage makes of the provider's counts."""
    if "prompt_tokens" in usage:
        inputs, outputs = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        return [
            usage["prompt_tokens"],
            inputs.get("cached_tokens"),
            usage["completion_tokens"],
            outputs.get("reasoning_tokens", usage.get("reasoning_tokens")),
            inputs.get("cache_write_tokens"),
        ]
    if "input_tokens_details" in usage:
        return [
            usage["input_tokens"],
            usage["input_tokens_details"]["cached_tokens"],
            usage["output_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"],
            usage["input_tokens_details"].get("cache_write_tokens"),
        ]
    cached, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    return [usage["input_tokens"] + (cached or 0) + (written or 0), cached, usage["output_tokens"], None, written]
