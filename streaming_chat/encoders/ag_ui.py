"""The AG-UI protocol, version 1.0: a reply as the events of one run, in Server-Sent Events.

The text is one message with the reply's id, whatever stands between its parts, and the reasoning is another one. Fields
without a value are left out, since the protocol does not allow null. A source is a CUSTOM event. A tool call whose arguments
are not complete is left out: the protocol has no way to say so.

Source: https://docs.ag-ui.com/spec/1.0 and the schemas of the package @ag-ui/core, 1.0.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import SOURCE, START, TEXT, TOOL_CALL, Event

from .spans import Frame, Span, SpanEncoder

# Every other ending is an error.
_OUTCOMES = {endings.COMPLETED: "success", endings.STOPPED: "cancelled"}
_USAGE = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_input_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}


class AGUIEncoder(SpanEncoder):
    """A step is open while the model reasons, another one while it answers.

    thread_id, run_id: as the client calls the conversation and the run; "" for our ids.
    """

    def __init__(self, message_id: str, *, thread_id: str = "", run_id: str = "") -> None:
        super().__init__(message_id)
        self._run = {"threadId": thread_id, "runId": run_id or message_id}
        self._calls: list[str] = []

    def span(self, kind: str, position: int) -> Span:
        """Return the frames of the text's message, or of the reasoning's, each in its step."""
        if kind == TEXT:
            message, step = {"messageId": self.message_id}, {"stepName": "answer"}
            return Span(
                [{"type": "STEP_STARTED", **step}, {"type": "TEXT_MESSAGE_START", **message, "role": "assistant"}],
                {"type": "TEXT_MESSAGE_CONTENT", **message},
                [{"type": "TEXT_MESSAGE_END", **message}, {"type": "STEP_FINISHED", **step}],
            )
        message, step = {"messageId": f"{self.message_id}-reasoning"}, {"stepName": "reasoning"}
        opened: Frame = {"type": "REASONING_MESSAGE_START", **message, "role": "reasoning"}
        return Span(
            [{"type": "STEP_STARTED", **step}, {"type": "REASONING_START", **message}, opened],
            {"type": "REASONING_MESSAGE_CONTENT", **message},
            [
                {"type": "REASONING_MESSAGE_END", **message},
                {"type": "REASONING_END", **message},
                {"type": "STEP_FINISHED", **step},
            ],
        )

    def whole(self, event: Event, position: int) -> Iterator[Frame]:
        """Yield the frames of the start, of a source, or of a tool call."""
        kind, payload = event
        if kind == START:
            self._run["threadId"] = self._run["threadId"] or payload["conversation"]
            yield {"type": "RUN_STARTED", **self._run, "protocolVersion": "1.0"}
        elif kind == SOURCE:
            yield {"type": "CUSTOM", "name": SOURCE, "value": payload}
        elif kind == TOOL_CALL and payload.get("complete"):
            call = {"toolCallId": payload["id"] or f"call-{position}"}
            self._calls.append(call["toolCallId"])
            told = {"toolCallName": payload["name"], "parentMessageId": self.message_id}
            yield {"type": "TOOL_CALL_START", **call, **told}
            yield {"type": "TOOL_CALL_ARGS", **call, "delta": payload["arguments"]}
            yield {"type": "TOOL_CALL_END", **call}

    def ending(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield the frame that ends the run."""
        usage = _usage(payload)
        if outcome := _OUTCOMES.get(payload["status"]):
            pending = {"pendingToolCallIds": self._calls} if self._calls and outcome == "success" else {}
            yield {"type": "RUN_FINISHED", **self._run, "outcome": {"type": outcome, **pending}, **usage}
        else:
            code = payload.get("error_code") or "internal"
            yield {"type": "RUN_ERROR", "message": error_text(code), "code": code, **usage}


def _usage(payload: dict[str, Any]) -> Frame:
    if not (usage := payload.get("usage")):
        return {}
    counts = {name: usage[ours] for ours, name in _USAGE.items() if usage.get(ours) is not None}
    return {"usage": [{**({"model": payload["model"]} if payload.get("model") else {}), **counts}]}
