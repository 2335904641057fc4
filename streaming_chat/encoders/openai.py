"""The openai format: the chunks of OpenAI's chat completions, as its SDKs read them.

It has no ids of events, so a client that loses the connection begins again, and no word for sources, which are left out.
Nor does it have one for tools that the server runs: their calls and results are left out, too. The calls that a client must
run are told when the reply waits for them, with the finish reason `tool_calls`, and end the stream.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from streaming_chat.protocol.events import REASONING, START, STEP, TEXT, TOOL_CALL, Event
from streaming_chat.protocol.openai_objects import (
    awaited_calls,
    completion_head,
    error_of_ending,
    error_of_waiting,
    finish_reason,
    tool_call,
    usage_of,
)
from streaming_chat.protocol.sse import HEARTBEAT

from .base import Encoder
from .simple import as_json


class OpenAIEncoder(Encoder):
    """One chunk per event. includes_usage: a chunk with the tokens comes before `[DONE]`, and is null in all others.

    goes_on_with: the model of a reply whose beginning the client has; "" if the stream begins with the reply.
    """

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = HEARTBEAT
    is_resumable = False

    def __init__(self, message_id: str, *, includes_usage: bool = False, goes_on_with: str = "") -> None:
        super().__init__(message_id)
        self._includes_usage = includes_usage
        self.is_resumable = bool(goes_on_with)
        self._calls = 0
        # Of the site's tools, by id; None while no step has begun, as in a reply without them.
        self._held: dict[str, dict[str, Any]] | None = {} if goes_on_with else None
        self._name_model(goes_on_with)
        self._opening = self._role() if goes_on_with else ""

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return a chunk for each event, except for kinds that the format cannot express."""
        return "".join([self._begin(), *(self._chunk_of(event) for event in events)]).encode()

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the finish reason and `[DONE]`; or the error of a reply that failed, which is not done."""
        if error := error_of_ending(payload):
            return _frame({"error": error}).encode()
        return self._finish(finish_reason(payload["end_reason"]), payload["usage"])

    def wait(self, payload: dict[str, Any]) -> bytes:
        """Return the calls for the client, and the end of the stream; or an error, if a person must allow a call."""
        if not (calls := awaited_calls(payload, self._held or {})):
            return _frame({"error": error_of_waiting()}).encode()
        chunks = "".join(map(self._call, calls))
        # What has been used so far is not in the events.
        return chunks.encode() + self._finish("tool_calls", None)

    def reset(self) -> bytes:
        """Return nothing: the format cannot take text back."""
        return b""

    def _begin(self) -> str:
        opening, self._opening = self._opening, ""
        return opening

    def _finish(self, reason: str, used: dict[str, Any] | None) -> bytes:
        usage = _frame({**self._head, "choices": [], "usage": usage_of(used)}) if self._includes_usage else ""
        return f"{self._begin()}{self._choice({}, reason)}{usage}data: [DONE]\n\n".encode()

    def _name_model(self, model: str) -> None:
        self._head = completion_head(self.message_id, model, kind="chat.completion.chunk")
        # Most chunks are alike but for their text. Within a string, JSON has no quotation mark without a backslash.
        before, key, after = self._choice({"content": ""}).partition('"content":""')
        self._before_text, self._after_text = before + key.removesuffix('""'), after

    def _chunk_of(self, event: Event) -> str:
        kind, payload = event
        if kind == TEXT:
            return f"{self._before_text}{quoted(payload)}{self._after_text}"
        if kind == REASONING:
            return self._choice({"reasoning_content": payload})
        if kind == TOOL_CALL:
            if self._held is None:
                return self._call(tool_call(payload))
            self._held[payload["id"]] = payload
        elif kind == STEP:
            self._held = {}
        elif kind == START:
            self._name_model(payload.get("model", ""))
            return self._role()
        return ""

    def _role(self) -> str:
        return self._choice({"role": "assistant", "content": ""})

    def _call(self, call: dict[str, Any]) -> str:
        self._calls += 1
        return self._choice({"tool_calls": [{"index": self._calls - 1, **call}]})

    def _choice(self, delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _frame({**self._head, "choices": [choice], **({"usage": None} if self._includes_usage else {})})


def _frame(data: dict[str, Any]) -> str:
    return f"data: {as_json(data)}\n\n"
