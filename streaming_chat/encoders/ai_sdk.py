"""The UI message stream of the AI SDK, version 1, for `useChat` of ai 5 and later, and for assistant-ui.

Its clients stop at a part of a type that they do not know, and the first ones of version 5 also at an unknown key. So only
types and keys of 5.0.0 are sent, unless the request says that the client is a later one.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol and `uiMessageChunkSchema` of the package `ai`, 5.0.0 to 7.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import DELTAS, SOURCE, START, TOOL_CALL, Event, link_of, merge, source_key
from streaming_chat.protocol.sse import HEARTBEAT

from .base import Encoder
from .simple import as_json, ending_data

_DONE = b"data: [DONE]\n\n"
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

Chunk = dict[str, Any]


class AISDKEncoder(Encoder):
    """One frame for each part of the protocol. The id of a text or of a reasoning is the position where it begins.

    sdk: the major version of the client's package `ai`.
    """

    content_type = "text/event-stream; charset=utf-8"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    heartbeat = HEARTBEAT
    # A part is known by its beginning.
    is_resumable = False

    def __init__(self, message_id: str, *, sdk: int = 5) -> None:
        super().__init__(message_id)
        self._is_later = sdk >= _LATER_SDK
        # Of the text or the reasoning that has not ended.
        self._kind = self._id = ""
        self._sources: set[tuple[str, ...]] = set()
        self._is_over = False

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events; none after a reset, since the client keeps what it has."""
        if self._is_over:
            return b""
        if len(events) == 1 and events[0].kind == self._kind:
            # The usual token of a live reply.
            text = quoted(events[0].payload)
            return f'data: {{"type":"{self._kind}-delta","id":"{self._id}","delta":{text}}}\n\n'.encode()
        chunks: list[Chunk] = []
        for event in merge(events):
            chunks += self._delta(event, position) if event.kind in DELTAS else self._whole(event, position)
            position += event.size
        return _frames(chunks)

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the frames that end the message, and `[DONE]`. What is open is closed before."""
        return _frames([*self._close(), *self._ending(payload)]) + _DONE

    def reset(self) -> bytes:
        """Return nothing: the protocol cannot take back a text. The ending follows."""
        self._is_over = True
        return b""

    def _delta(self, event: Event, position: int) -> Iterator[Chunk]:
        if event.kind != self._kind:
            yield from self._close()
            self._kind, self._id = event.kind, str(position)
            yield {"type": f"{event.kind}-start", "id": self._id}
        yield {"type": f"{event.kind}-delta", "id": self._id, "delta": event.payload}

    def _whole(self, event: Event, position: int) -> Iterator[Chunk]:
        yield from self._close()
        if event.kind == START:
            ids = {name: value for name, value in event.payload.items() if name != "message"}
            yield {"type": "start", "messageId": self.message_id, "messageMetadata": ids}
        elif event.kind == TOOL_CALL:
            yield from self._tool_call(event.payload, position)
        elif event.kind == SOURCE:
            yield from self._source(event.payload)

    def _close(self) -> Iterator[Chunk]:
        if self._kind:
            yield {"type": f"{self._kind}-end", "id": self._id}
            self._kind = self._id = ""

    def _tool_call(self, payload: dict[str, Any], position: int) -> Iterator[Chunk]:
        """Yield a call whose arguments are JSON; any other one only to clients that have a part for it."""
        call = {"toolCallId": payload["id"] or f"call-{position}", "toolName": payload["name"], "dynamic": True}
        try:
            yield {"type": "tool-input-available", **call, "input": _arguments(payload)}
        except ValueError as error:
            if self._is_later:
                yield {"type": "tool-input-error", **call, "input": payload["arguments"], "errorText": str(error)}

    def _source(self, payload: dict[str, Any]) -> Iterator[Chunk]:
        """Yield a source when it is first cited, with its number."""
        key = source_key(payload)
        if key in self._sources:
            return
        self._sources.add(key)
        number, title, url = str(len(self._sources)), payload["title"], link_of(payload)
        if url:
            yield {"type": "source-url", "sourceId": number, "url": url, **({"title": title} if title else {})}
        else:
            yield {"type": "source-document", "sourceId": number, "mediaType": "text/plain", "title": title}

    def _ending(self, payload: dict[str, Any]) -> Iterator[Chunk]:
        metadata = {name: value for name, value in ending_data(payload).items() if name not in _OF_TEXT}
        if payload["status"] == endings.COMPLETED:
            reason = _FINISH_REASONS.get(payload["end_reason"], "other")
            told = {"finishReason": reason} if self._is_later else {}
            yield {"type": "finish", "messageMetadata": metadata, **told}
            return
        yield {"type": "message-metadata", "messageMetadata": metadata}
        if payload["status"] == endings.STOPPED:
            yield {"type": "abort"}
        else:
            yield {"type": "error", "errorText": error_text(payload.get("error_code") or "internal")}


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


def _frames(chunks: list[Chunk]) -> bytes:
    return "".join(f"data: {as_json(chunk)}\n\n" for chunk in chunks).encode()
