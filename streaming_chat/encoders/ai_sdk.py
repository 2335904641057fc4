"""The UI message stream of the AI SDK, version 1, for `useChat` of ai 5 and later, and for assistant-ui.

Its clients stop at a part of a type that they do not know, and the first ones of version 5 also at an unknown key. So only
types and keys of 5.0.0 are sent, unless the request says that the client is a later one.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol and `uiMessageChunkSchema` of the package `ai`, 5.0.0 to 7.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import SOURCE, START, TOOL_CALL, Event, link_of, source_key

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
# The version whose clients all know `finishReason` and `tool-input-error`.
_LATER_SDK = 6
# What the ending says of the text, to a program that checks it.
_OF_TEXT = ("text", "length", "sha256")


class AISDKEncoder(SpanEncoder):
    """One frame for each part of the protocol. The id of a text or of a reasoning is the position where it begins.

    sdk: the major version of the client's package `ai`.
    """

    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    terminator = b"data: [DONE]\n\n"

    def __init__(self, message_id: str, *, sdk: int = 5) -> None:
        super().__init__(message_id)
        self._is_later = sdk >= _LATER_SDK
        self._sources: set[tuple[str, ...]] = set()

    def span(self, kind: str, position: int) -> Span:
        """Return the frames of a part `text` or `reasoning`."""
        start, delta, end = ({"type": f"{kind}-{name}", "id": str(position)} for name in ("start", "delta", "end"))
        return Span([start], delta, [end])

    def whole(self, event: Event, position: int) -> Iterator[Frame]:
        """Yield the frames of the start, of a source, or of a tool call. What is open is closed before."""
        yield from self.close()
        kind, payload = event
        if kind == START:
            ids = {name: value for name, value in payload.items() if name != "message"}
            yield {"type": "start", "messageId": self.message_id, "messageMetadata": ids}
        elif kind == TOOL_CALL:
            yield from self._tool_call(payload, position)
        elif kind == SOURCE and (key := source_key(payload)) not in self._sources:
            self._sources.add(key)
            yield _source(payload, str(len(self._sources)))

    def ending(self, payload: dict[str, Any]) -> Iterator[Frame]:
        """Yield the frames that end the message."""
        metadata = {name: value for name, value in ending_data(payload).items() if name not in _OF_TEXT}
        if payload["status"] == endings.COMPLETED:
            reason = _FINISH_REASONS.get(payload["end_reason"], "other")
            yield {
                "type": "finish",
                "messageMetadata": metadata,
                **({"finishReason": reason} if self._is_later else {}),
            }
            return
        yield {"type": "message-metadata", "messageMetadata": metadata}
        if payload["status"] == endings.STOPPED:
            yield {"type": "abort"}
        else:
            yield {"type": "error", "errorText": error_text(payload.get("error_code") or "internal")}

    def _tool_call(self, payload: dict[str, Any], position: int) -> Iterator[Frame]:
        """Yield a call whose arguments are JSON; any other one only to clients that have a part for it."""
        call = {"toolCallId": payload["id"] or f"call-{position}", "toolName": payload["name"], "dynamic": True}
        try:
            yield {"type": "tool-input-available", **call, "input": _arguments(payload)}
        except ValueError as error:
            if self._is_later:
                yield {"type": "tool-input-error", **call, "input": payload["arguments"], "errorText": str(error)}


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
