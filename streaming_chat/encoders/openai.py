"""The openai format: the chunks of OpenAI's chat completions, as its SDKs read them.

It has no ids of events, so a client that loses the connection begins again, and no word for sources, which are left out.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from streaming_chat.protocol.events import REASONING, START, TEXT, TOOL_CALL, Event
from streaming_chat.protocol.openai_objects import completion_head, error_of_ending, finish_reason, tool_call, usage_of
from streaming_chat.protocol.sse import HEARTBEAT

from .base import Encoder
from .simple import as_json


class OpenAIEncoder(Encoder):
    """One chunk per event. includes_usage: a chunk with the tokens comes before `[DONE]`, and is null in all others."""

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = HEARTBEAT
    is_resumable = False

    def __init__(self, message_id: str, *, includes_usage: bool = False) -> None:
        super().__init__(message_id)
        self._includes_usage = includes_usage
        self._calls = 0
        self._name_model("")

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return a chunk for each event, except for kinds that the format cannot express."""
        return "".join([self._chunk_of(event) for event in events]).encode()

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the finish reason and `[DONE]`; or the error of a reply that failed, which is not done."""
        if error := error_of_ending(payload):
            return _frame({"error": error}).encode()
        usage = ""
        if self._includes_usage:
            usage = _frame({**self._head, "choices": [], "usage": usage_of(payload["usage"])})
        return f"{self._choice({}, finish_reason(payload['end_reason']))}{usage}data: [DONE]\n\n".encode()

    def reset(self) -> bytes:
        """Return nothing: the format cannot take text back."""
        return b""

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
            self._calls += 1
            return self._choice({"tool_calls": [{"index": self._calls - 1, **tool_call(payload)}]})
        if kind == START:
            self._name_model(payload.get("model", ""))
            return self._choice({"role": "assistant", "content": ""})
        return ""

    def _choice(self, delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _frame({**self._head, "choices": [choice], **({"usage": None} if self._includes_usage else {})})


def _frame(data: dict[str, Any]) -> str:
    return f"data: {as_json(data)}\n\n"
