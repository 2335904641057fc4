"""Streams of OpenAI's Responses API for test_recorded_streams.py: short ones, and how the recordings are divided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from .provider_server import blocks

_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
}
_ARGUMENTS = '{"city": "Köln"}'


class Response(NamedTuple):
    """One stream. expect: text, reasoning, tool_calls, sources, finish_reason, end_reason, usage, error."""

    name: str
    raw: bytes
    expect: dict[str, Any]


def stream(*payloads: dict[str, Any] | str) -> bytes:
    """Return events with the numbers that the API gives them; a string is an event as it is."""
    numbers = count()
    lines = [payload if isinstance(payload, str) else _event(payload, next(numbers)) for payload in payloads]
    return "".join(f"{line}\n\n" for line in lines).encode()


def _event(payload: dict[str, Any], number: int) -> str:
    return f"event: {payload['type']}\ndata: {json.dumps({**payload, 'sequence_number': number})}"


def _text(delta: str, index: int = 0) -> dict[str, Any]:
    place = {"item_id": f"msg_{index}", "output_index": index, "content_index": 0}
    return {"type": "response.output_text.delta", **place, "delta": delta}


def _item(index: int, item: dict[str, Any], *between: dict[str, Any], **done: Any) -> list[dict[str, Any]]:
    """Return the events of one output item. done: what it has at its end."""
    return [
        {"type": "response.output_item.added", "output_index": index, "item": {**item, "status": "in_progress"}},
        *({"output_index": index, **payload} for payload in between),
        {"type": "response.output_item.done", "output_index": index, "item": {**item, "status": "completed", **done}},
    ]


def _message(index: int, *deltas: str, **done: Any) -> list[dict[str, Any]]:
    item = {"id": f"msg_{index}", "type": "message", "role": "assistant", "content": []}
    return _item(index, item, *(_text(delta, index) for delta in deltas), **done)


def _summary(delta: str, part: int) -> dict[str, Any]:
    return {"type": "response.reasoning_summary_text.delta", "summary_index": part, "delta": delta}


def _arguments(delta: str) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "delta": delta}


def _end(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"id": "resp_1", "status": status, "usage": _USAGE, **more}}


def _citation(url: str, kind: str = "url_citation") -> dict[str, Any]:
    return {"type": kind, "url": url, "title": "A page", "start_index": 0, "end_index": 2}


def _annotated(url: str) -> dict[str, Any]:
    return {"type": "response.output_text.annotation.added", "annotation": _citation(url), "annotation_index": 0}


_START = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}
_REASONING = {"id": "rs_1", "type": "reasoning", "summary": []}
_CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ""}
_SEARCH = {"id": "ws_1", "type": "web_search_call"}
_COMPLETED = {"finish_reason": "completed", "usage": _USAGE}
_CALLED = [{"name": "weather", "arguments": _ARGUMENTS}]

SHORT = [
    Response(
        "a summary in parts, and two messages",
        stream(
            _START,
            *_item(0, _REASONING, _summary("H", 0), _summary("m.", 0), _summary("So.", 1), encrypted_content="x"),
            *_message(1, "J", "a."),
            *_message(2, "Und?"),
            _end(),
        ),
        {"reasoning": "Hm.\n\nSo.", "text": "Ja.\n\nUnd?", **_COMPLETED},
    ),
    Response(
        "reasoning as text, with a summary of nothing",
        stream(
            _START,
            *_item(0, _REASONING, {"type": "response.reasoning_text.delta", "content_index": 0, "delta": "Hm."}),
            *_message(1, "Ja"),
            _end(),
            "data: [DONE]",
        ),
        {"reasoning": "Hm.", "text": "Ja", **_COMPLETED},
    ),
    Response(
        "a call whose arguments come in pieces and at its end",
        stream(
            _START,
            *_item(0, _CALL, _arguments(_ARGUMENTS[:7]), _arguments(_ARGUMENTS[7:]), arguments=_ARGUMENTS),
            _end(),
        ),
        {"tool_calls": _CALLED, "end_reason": "tool_calls", **_COMPLETED},
    ),
    Response(
        "a call whose arguments come only in pieces",
        stream(_START, *_item(0, _CALL, _arguments(_ARGUMENTS[:7]), _arguments(_ARGUMENTS[7:])), _end()),
        {"tool_calls": _CALLED, "end_reason": "tool_calls", **_COMPLETED},
    ),
    Response(
        "a call whose arguments come only at its end",
        stream(_START, *_message(0, "Moment."), *_item(1, _CALL, arguments=_ARGUMENTS), _end()),
        {"text": "Moment.", "tool_calls": _CALLED, "end_reason": "tool_calls", **_COMPLETED},
    ),
    Response(
        "a search of the server's own, and what the text cites",
        stream(
            _START,
            *_item(
                0,
                _SEARCH,
                {"type": "response.web_search_call.searching"},
                action={"type": "search", "query": "x", "sources": [{"type": "url", "url": "https://a.example/"}]},
            ),
            *_item(
                1,
                {"id": "msg_1", "type": "message", "content": []},
                _text("J", 1),
                _annotated("https://a.example/"),
                _text("a", 1),
                content=[
                    {
                        "type": "output_text",
                        "annotations": [
                            _citation("https://a.example/"),
                            _citation("https://b.example/"),
                            _citation("https://c.example/", "file_citation"),
                        ],
                    }
                ],
            ),
            _end(),
        ),
        {
            "text": "Ja",
            "tool_calls": [{"name": "web_search", "arguments": '{"type": "search", "query": "x"}'}],
            "sources": ["https://a.example/", "https://b.example/"],
            **_COMPLETED,
        },
    ),
    Response(
        "a refusal by the model",
        stream(
            _START,
            *_item(
                0,
                {"id": "msg_1", "type": "message", "content": []},
                {"type": "response.refusal.delta", "content_index": 0, "delta": "I can't"},
                {"type": "response.refusal.delta", "content_index": 0, "delta": " do that."},
            ),
            _end(),
        ),
        {"text": "I can't do that.", "end_reason": "content_filter", **_COMPLETED},
    ),
    Response(
        "the output limit",
        stream(
            _START,
            *_message(0, "Ja", status="incomplete"),
            _end("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        ),
        {"text": "Ja", "finish_reason": "max_output_tokens", "end_reason": "length", "usage": _USAGE},
    ),
    Response(
        "a filter in the middle",
        stream(_START, _text("J"), _text("a"), _end("incomplete", incomplete_details={"reason": "content_filter"})),
        {"text": "Ja", "finish_reason": "content_filter", "usage": _USAGE},
    ),
    Response(
        "a failure of the service",
        stream(_START, *_message(0, "Ja"), _end("failed", error={"code": "server_error", "message": "secret words"})),
        {"text": "Ja", "error": "provider_error"},
    ),
    Response(
        "a prompt that is rejected after the start",
        stream(_START, _end("failed", error={"code": "invalid_prompt", "message": "secret words"})),
        {"error": "provider_rejected"},
    ),
    Response(
        "a failure without a reason",
        stream(_START, _text("Ja"), _end("failed")),
        {"text": "Ja", "error": "provider_error", "finish_reason": "failed"},
    ),
    Response(
        "a flat error event",
        stream(_START, _text("Ja"), {"type": "error", "code": "rate_limit_exceeded", "message": "x", "param": None}),
        {"text": "Ja", "error": "provider_rate_limited"},
    ),
    Response(
        "an error of a gateway",
        stream(_START, _text("Ja"), 'data: {"error": {"code": 502, "message": "secret words"}}'),
        {"text": "Ja", "error": "provider_unavailable"},
    ),
    Response(
        "what later versions may send",
        stream(
            _START,
            ": ping",
            "event: keepalive\ndata: now",
            {"type": "response.of_tomorrow", "error": None, "message": "?"},
            *_item(0, {"type": "thing_of_tomorrow"}, {"type": "response.thing_of_tomorrow.delta", "delta": "?"}),
            *_message(1, "J", "a"),
            _end(),
            {"type": "response.output_text.delta", "delta": "after the end"},
        ),
        {"text": "Ja", **_COMPLETED},
    ),
    Response(
        "surrogates as escapes, in two numbered events",
        stream(_START, _text("\ud83d"), _text("\ude00"), _end()),
        {"text": "\ud83d\ude00", **_COMPLETED},
    ),
]


def divided(name: str, raw: bytes, expect: dict[str, Any]) -> Iterator[Response]:
    """Yield the responses of a recording. One has several requests of a tool loop, of which a reply is the first."""
    found = blocks(raw)
    starts = [number for number, block in enumerate(found) if b'"response.created"' in block]
    if len(starts) == 1:
        yield Response(name, raw, expect)
        return
    for start, end in zip(starts, [*starts[1:], len(found)], strict=True):
        yield Response(f"{name} from event {start}", b"".join(found[start:end]), _expected(found[end - 1]))


def _expected(last: bytes) -> dict[str, Any]:
    """Return what the last event of a response says that the events before it should give."""
    response = json.loads(last.partition(b"data: ")[2])["response"]
    output = response["output"]
    calls = [
        {"name": item["name"], "arguments": item["arguments"]} for item in output if item["type"] == "function_call"
    ]
    return {
        "text": "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"]),
        "reasoning": "\n\n".join(part["text"] for item in output for part in item.get("summary", ())),
        "tool_calls": calls,
        "finish_reason": response["status"],
        "end_reason": "tool_calls" if calls else "stop",
        "usage": response["usage"],
    }
