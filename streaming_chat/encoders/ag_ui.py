"""The AG-UI protocol, version 1.0: a reply as the events of one run, in Server-Sent Events.

The text is one message with the reply's id, whatever stands between its parts, and the reasoning is another one. If tools of
the site run, the text of each later call of the model is a message of its own, after the results. Fields without a value are
left out, since the protocol does not allow null. A source is a CUSTOM event. A tool call whose arguments are not complete is
left out: the protocol has no way to say so.

A run ends when its reply waits for an answer: with interrupts for a person, or with pending calls for the client. The answer
begins a run that goes on with the reply.

Source: https://docs.ag-ui.com/spec/1.0, https://docs.ag-ui.com/concepts/interrupts and the schemas of @ag-ui/core, 1.0.0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import SOURCE, START, STEP, TEXT, TOOL_CALL, TOOL_RESULT, Event

from .spans import Frame, Span, SpanEncoder

# Between the id of a reply and the number of a step, in the ids of its later texts.
STEP_SEPARATOR = "-step-"
# Every other ending is an error.
_OUTCOMES = {endings.COMPLETED: "success", endings.STOPPED: "cancelled"}
# What a person answers, and what a client does that has run a tool.
_APPROVED = {"approved": {"type": "boolean"}, "reason": {"type": "string"}}
_EDITED = {"editedArgs": {"type": "object", "description": "Replaces all arguments of the call."}}
_USAGE = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_input_tokens": "cachedInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
}


class AGUIEncoder(SpanEncoder):
    """A step is open while the model reasons, another one while it answers.

    thread_id, run_id: as the client calls the conversation and the run; "" for our ids. To go on with a reply, the thread_id
    is required. has_results: the ids of the calls whose results the client has sent itself.
    """

    def __init__(
        self,
        message_id: str,
        *,
        thread_id: str = "",
        run_id: str = "",
        continues: bool = False,
        has_results: Collection[str] = (),
    ) -> None:
        super().__init__(message_id, continues=continues)
        self._run = {"threadId": thread_id, "runId": run_id or message_id}
        # The calls that this stream has told; those of them that have no result, in their order.
        self._calls: set[str] = set()
        self._pending: dict[str, None] = {}
        self._step = 1
        self._has_results = has_results

    def span(self, kind: str, position: int) -> Span:
        """Return the frames of the text's message, or of the reasoning's, each in its step."""
        if kind == TEXT:
            message, step = {"messageId": self._text_id}, {"stepName": "answer"}
            return Span(
                [{"type": "STEP_STARTED", **step}, {"type": "TEXT_MESSAGE_START", **message, "role": "assistant"}],
                {"type": "TEXT_MESSAGE_CONTENT", **message},
                [{"type": "TEXT_MESSAGE_END", **message}, {"type": "STEP_FINISHED", **step}],
            )
        message, step = {"messageId": f"{self._text_id}-reasoning"}, {"stepName": "reasoning"}
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
        """Yield the frames of any other event."""
        kind, payload = event
        if kind == START:
            self._run["threadId"] = self._run["threadId"] or payload["conversation"]
            yield from self.beginning()
        elif kind == STEP:
            yield from self.close()
            self._step = payload["number"]
        elif kind == SOURCE:
            yield {"type": "CUSTOM", "name": SOURCE, "value": payload}
        elif kind == TOOL_CALL and payload.get("complete"):
            yield from self._tool_call(payload, position)
        elif kind == TOOL_RESULT and self._is_told(payload["id"]):
            self._pending.pop(payload["id"], None)
            said = {"toolCallId": payload["id"], "content": payload["output"], "role": "tool"}
            message = {"messageId": f"{self.message_id}-{payload['id']}", "metadata": {"status": payload["status"]}}
            yield {"type": "TOOL_CALL_RESULT", **message, **said}

    def beginning(self) -> Iterator[Frame]:
        """Yield the start of a run."""
        yield {"type": "RUN_STARTED", **self._run, "protocolVersion": "1.0"}

    def waiting(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield the end of a run that leaves calls to the client, or to a person."""
        calls = payload["calls"]
        outcome: Frame = {"type": "success", "pendingToolCallIds": [call["id"] for call in calls]}
        if any(call["runs"] == "server" for call in calls):
            outcome = {"type": "interrupt", "interrupts": [self._interrupt(call, payload["expires"]) for call in calls]}
        yield {"type": "RUN_FINISHED", **self._run, "outcome": outcome}

    def ending(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield the frame that ends the run."""
        usage = _usage(payload)
        if outcome := _OUTCOMES.get(payload["status"]):
            pending = {"pendingToolCallIds": [*self._pending]} if self._pending and outcome == "success" else {}
            yield {"type": "RUN_FINISHED", **self._run, "outcome": {"type": outcome, **pending}, **usage}
        else:
            code = payload.get("error_code") or "internal"
            yield {"type": "RUN_ERROR", "message": error_text(code), "code": code, **usage}

    @property
    def _text_id(self) -> str:
        """The id of the message that has the text of this step. The client puts results after their call's message."""
        return self.message_id if self._step == 1 else f"{self.message_id}{STEP_SEPARATOR}{self._step}"

    def _is_told(self, call_id: str) -> bool:
        return call_id in self._calls or (self.continues and call_id not in self._has_results)

    def _tool_call(self, payload: Mapping[str, Any], position: int) -> Iterator[Frame]:
        call = {"toolCallId": payload["id"] or f"call-{position}"}
        self._calls.add(call["toolCallId"])
        self._pending[call["toolCallId"]] = None
        told = {"toolCallName": payload["name"], "parentMessageId": self._text_id}
        yield {"type": "TOOL_CALL_START", **call, **told}
        yield {"type": "TOOL_CALL_ARGS", **call, "delta": payload["arguments"]}
        yield {"type": "TOOL_CALL_END", **call}

    def _interrupt(self, call: Mapping[str, Any], expires: str) -> Frame:
        """Return what a call waits for. Its id has that of the reply, since some servers number the calls of each alike."""
        asked = {"id": f"{self.message_id}/{call['id']}", "toolCallId": call["id"], "expiresAt": expires}
        if call["runs"] == "client":
            return {**asked, "reason": "input_required", "responseSchema": _object_schema({"output": {}})}
        answer = _APPROVED | (_EDITED if call["editable"] else {})
        return {**asked, "reason": "tool_call", "responseSchema": _object_schema(answer)}


def _object_schema(properties: Mapping[str, Any]) -> Frame:
    """Return the schema of an object whose first property is required."""
    return {"type": "object", "properties": properties, "required": [next(iter(properties))]}


def _usage(payload: dict[str, Any]) -> Frame:
    if not (usage := payload.get("usage")):
        return {}
    counts = {name: usage[ours] for ours, name in _USAGE.items() if usage.get(ours) is not None}
    return {"usage": [{**({"model": payload["model"]} if payload.get("model") else {}), **counts}]}
