"""The UI message stream of the AI SDK, version 1, for `useChat` of ai 5 and later, and for assistant-ui.

Its clients stop at a part of a type that they do not know, and the first ones of version 5 also at an unknown key. So only
types and keys of 5.0.0 are sent, unless the request says that the client is a later one.

A stream ends when its reply waits for an answer, since a client can answer only then. The answer is a request of its own,
whose stream goes on with the same message.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol and `uiMessageChunkSchema` of the package `ai`, 5.0.0 to 7.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol import endings, tool_calls
from streaming_chat.protocol.events import SOURCE, START, STEP, TOOL_CALL, TOOL_RESULT, Event, link_of, source_key

from .simple import as_json, ending_data
from .spans import Frame, Span, SpanEncoder

# The names of `finishReason`; every other reason is "other".
_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "length_cap": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
}
# The version whose clients all know `finishReason`, `tool-input-error` and approvals.
LATER_SDK = 6
# What the ending says of the text, to a program that checks it.
_OF_TEXT = ("text", "length", "sha256")


class AISDKEncoder(SpanEncoder):
    """One frame for each part of the protocol. The id of a text or of a reasoning is the position where it begins.

    sdk: the major version of the client's package `ai`.
    """

    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    terminator = b"data: [DONE]\n\n"

    def __init__(self, message_id: str, *, sdk: int = 5, continues: bool = False) -> None:
        super().__init__(message_id, continues=continues)
        self._is_later = sdk >= LATER_SDK
        self._sources: set[tuple[str, ...]] = set()
        # The ids of the calls that this stream has told, and of the step whether it is open and has results.
        self._calls: set[str] = set()
        self._is_in_step = self._has_results = False

    def span(self, kind: str, position: int) -> Span:
        """Return the frames of a part `text` or `reasoning`."""
        start, delta, end = ({"type": f"{kind}-{name}", "id": str(position)} for name in ("start", "delta", "end"))
        return Span([start], delta, [end])

    def whole(self, event: Event, position: int) -> Iterator[Frame]:
        """Yield the frames of any other event. What is open is closed before."""
        yield from self.close()
        kind, payload = event
        if kind == START:
            ids = {name: value for name, value in payload.items() if name != "message"}
            yield {"type": "start", "messageId": self.message_id, "messageMetadata": ids}
        elif kind == TOOL_CALL:
            yield from self._tool_call(payload, position)
        elif kind == TOOL_RESULT:
            yield from self._tool_result(payload)
        elif kind == STEP:
            yield from self._end_step()
            yield {"type": "start-step"}
            self._is_in_step, self._has_results = True, False
        elif kind == SOURCE and (key := source_key(payload)) not in self._sources:
            self._sources.add(key)
            yield _source(payload, str(len(self._sources)))

    def beginning(self) -> Iterator[Frame]:
        """Yield the start of a stream that goes on with a message."""
        yield {"type": "start", "messageId": self.message_id, "messageMetadata": {"status": endings.STREAMING}}

    def waiting(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield the requests for approval, and the end of the stream."""
        for call in payload["calls"] if self._is_later else ():
            # Others were asked for by an earlier stream of the client's, which may have an answer by now.
            if call["runs"] == "server" and call["id"] in self._calls:
                request = {"approvalId": f"{self.message_id}/{call['id']}", "toolCallId": call["id"]}
                yield {"type": "tool-approval-request", **request}
        yield from self._end_step()
        metadata = {"status": endings.WAITING, "approval": payload}
        yield {"type": "finish", "messageMetadata": metadata, **self._reason("tool_calls")}

    def ending(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield the frames that end the message."""
        yield from self._end_last_step()
        metadata = {name: value for name, value in ending_data(payload).items() if name not in _OF_TEXT}
        if payload["status"] == endings.COMPLETED:
            yield {"type": "finish", "messageMetadata": metadata, **self._reason(payload["end_reason"])}
            return
        yield {"type": "message-metadata", "messageMetadata": metadata}
        if payload["status"] == endings.STOPPED:
            yield {"type": "abort"}
        else:
            yield {"type": "error", "errorText": error_text(payload.get("error_code") or "internal")}

    def _reason(self, end_reason: str) -> Frame:
        return {"finishReason": _FINISH_REASONS.get(end_reason, "other")} if self._is_later else {}

    def _end_step(self) -> Iterator[Frame]:
        if self._is_in_step:
            self._is_in_step = False
            yield {"type": "finish-step"}

    def _end_last_step(self) -> Iterator[Frame]:
        """Yield the end of the last step; if that has results of tools, also an empty one after it.

        `sendAutomaticallyWhen` of many clients sends again as soon as all calls of the last step have results.
        """
        yield from self._end_step()
        if self._has_results:
            yield {"type": "start-step"}
            yield {"type": "finish-step"}

    def _tool_call(self, payload: dict[str, Any], position: int) -> Iterator[Frame]:
        """Yield a call whose arguments are JSON; any other one only to clients that have a part for it."""
        call_id = payload["id"] or f"call-{position}"
        call = {"toolCallId": call_id, "toolName": payload["name"], "dynamic": True}
        try:
            frame = {"type": "tool-input-available", **call, "input": _arguments(payload)}
        except ValueError as error:
            if not self._is_later:
                return
            frame = {"type": "tool-input-error", **call, "input": payload["arguments"], "errorText": str(error)}
        self._calls.add(call_id)
        yield frame

    def _tool_result(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield a result, unless the client was not told of its call, at which it would stop."""
        call = {"toolCallId": payload["id"], "dynamic": True}
        is_asked = self.continues and payload["id"] not in self._calls
        if not (is_asked or payload["id"] in self._calls):
            return
        self._has_results = True
        if payload["status"] == tool_calls.OK:
            yield {"type": "tool-output-available", **call, "output": payload["output"]}
        elif is_asked and self._is_later and tool_calls.is_denied_by_person(payload):
            # For a part that has an approval, which the client itself has answered.
            yield {"type": "tool-output-denied", "toolCallId": payload["id"]}
        else:
            yield {"type": "tool-output-error", **call, "errorText": payload["output"]}


def _source(payload: dict[str, Any], number: str) -> Frame:
    title, url = payload["title"], link_of(payload)
    if url:
        return {"type": "source-url", "sourceId": number, "url": url, **({"title": title} if title else {})}
    return {"type": "source-document", "sourceId": number, "mediaType": "text/plain", "title": title}


def _arguments(payload: dict[str, Any]) -> Any:
    """Return the arguments of a call. Raises ValueError if a client could not read them."""
    try:
        if not payload["complete"]:
            raise ValueError
        arguments = json.loads(payload["arguments"] or "{}")
        as_json({"input": arguments})
    except (ValueError, RecursionError):
        raise ValueError("The arguments of this call are incomplete, or not valid JSON.") from None
    return arguments
