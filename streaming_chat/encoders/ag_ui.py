"""The AG-UI protocol, version 1.0: a reply as the events of one run, in Server-Sent Events.

The text is one message with the reply's id, whatever stands between its parts, and the reasoning is another one. Fields
without a value are left out, since the protocol does not allow null. A source is a CUSTOM event. A tool call whose arguments
are not complete is left out: the protocol has no way to say so.

Source: https://docs.ag-ui.com/spec/1.0 and the schemas of the package @ag-ui/core, 1.0.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import DELTAS, REASONING, SOURCE, START, TEXT, TOOL_CALL, Event, merge
from streaming_chat.protocol.sse import HEARTBEAT

from .base import Encoder
from .simple import as_json

Frame = dict[str, Any]

_STEPS = {TEXT: "answer", REASONING: "reasoning"}
# Every other ending is an error.
_OUTCOMES = {endings.COMPLETED: "success", endings.STOPPED: "cancelled"}
_USAGE = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_input_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}


class AGUIEncoder(Encoder):
    """One frame per event of the protocol. A step is open while the model reasons, another one while it answers.

    thread_id, run_id: as the client calls the conversation and the run; "" for our ids.
    """

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = HEARTBEAT
    # The first event must be RUN_STARTED.
    is_resumable = False

    def __init__(self, message_id: str, *, thread_id: str = "", run_id: str = "") -> None:
        super().__init__(message_id)
        self._run = {"threadId": thread_id, "runId": run_id or message_id}
        self._ids = {TEXT: message_id, REASONING: f"{message_id}-reasoning"}
        # The kind of the deltas that came last, whose message and step are open.
        self._open = ""
        self._is_over = False

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events; none after a reset, since the client keeps what it has."""
        if self._is_over:
            return b""
        if len(events) == 1 and events[0].kind == TEXT == self._open:
            # The usual token of a live reply.
            delta = quoted(events[0].payload)
            return (
                f'data: {{"type":"TEXT_MESSAGE_CONTENT","messageId":"{self.message_id}","delta":{delta}}}\n\n'.encode()
            )
        return _frames(frame for event in merge(events) for frame in self._frames_of(event))

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the frames that close what is open, and the one that ends the run."""
        return _frames([*self._close(), {**self._ending(payload), **_usage(payload)}])

    def reset(self) -> bytes:
        """Return nothing: the protocol cannot take back a text. The ending follows."""
        self._is_over = True
        return b""

    def _frames_of(self, event: Event) -> Iterator[Frame]:
        kind, payload = event
        if kind in DELTAS:
            yield from self._opened(kind)
            yield {"type": f"{_prefix(kind)}_CONTENT", "messageId": self._ids[kind], "delta": payload}
        elif kind == START:
            self._run["threadId"] = self._run["threadId"] or payload["conversation"]
            yield {"type": "RUN_STARTED", **self._run, "protocolVersion": "1.0"}
        elif kind == SOURCE:
            yield {"type": "CUSTOM", "name": SOURCE, "value": payload}
        elif kind == TOOL_CALL and payload.get("complete"):
            yield from self._tool_call(payload)

    def _opened(self, kind: str) -> Iterator[Frame]:
        if kind == self._open:
            return
        yield from self._close()
        self._open = kind
        yield {"type": "STEP_STARTED", "stepName": _STEPS[kind]}
        if kind == REASONING:
            yield {"type": "REASONING_START", "messageId": self._ids[kind]}
        role = "reasoning" if kind == REASONING else "assistant"
        yield {"type": f"{_prefix(kind)}_START", "messageId": self._ids[kind], "role": role}

    def _close(self) -> Iterator[Frame]:
        kind, self._open = self._open, ""
        if not kind:
            return
        yield {"type": f"{_prefix(kind)}_END", "messageId": self._ids[kind]}
        if kind == REASONING:
            yield {"type": "REASONING_END", "messageId": self._ids[kind]}
        yield {"type": "STEP_FINISHED", "stepName": _STEPS[kind]}

    def _tool_call(self, call: dict[str, Any]) -> Iterator[Frame]:
        named = {"toolCallId": call["id"]}
        yield {
            "type": "TOOL_CALL_START",
            **named,
            "toolCallName": call["name"],
            "parentMessageId": self.message_id,
        }
        yield {"type": "TOOL_CALL_ARGS", **named, "delta": call["arguments"]}
        yield {"type": "TOOL_CALL_END", **named}

    def _ending(self, payload: dict[str, Any]) -> Frame:
        if outcome := _OUTCOMES.get(payload["status"]):
            return {"type": "RUN_FINISHED", **self._run, "outcome": {"type": outcome}}
        code = payload.get("error_code") or "internal"
        return {"type": "RUN_ERROR", "message": error_text(code), "code": code}


def _prefix(kind: str) -> str:
    return "TEXT_MESSAGE" if kind == TEXT else "REASONING_MESSAGE"


def _usage(payload: dict[str, Any]) -> Frame:
    usage = payload.get("usage")
    if not usage:
        return {}
    counts = {name: usage[ours] for ours, name in _USAGE.items() if usage.get(ours) is not None}
    return {"usage": [{**({"model": payload["model"]} if payload.get("model") else {}), **counts}]}


def _frames(frames: Iterator[Frame] | list[Frame]) -> bytes:
    return "".join(f"data: {as_json(frame)}\n\n" for frame in frames).encode()
