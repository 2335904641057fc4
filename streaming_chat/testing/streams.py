"""Streams in the simple format, as a site's own tests read them with Django's test clients."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.core.signals import request_finished
from django.db import close_old_connections
from django.urls import reverse


class Frame(NamedTuple):
    """One SSE message. event: "" when it has no name. data: parsed JSON, or the text where it is none ("[DONE]")."""

    id: str
    event: str
    data: Any


class Streamed:
    """A stream in the simple format, read to its end. body: its bytes. frames: its SSE messages."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.frames = [_frame(block) for block in body.decode().split("\n\n") if block.strip(":\n")]

    @property
    def text(self) -> str:
        """The reply's text: what the plainest reader shows."""
        return "".join(frame.data["text"] for frame in self.frames if isinstance(frame.data, dict))

    @property
    def start(self) -> dict[str, Any]:
        """The data of the `start` event: message, user_message, conversation, model. KeyError without one."""
        return self._data("start")

    @property
    def end(self) -> dict[str, Any]:
        """The data of the ending: status, end_reason, usage, … KeyError for a stream that was cut."""
        return self._data("done", "stopped", "interrupted", "failed")

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls of tools: id, name, arguments (JSON text), complete."""
        return [frame.data["tool_call"] for frame in self.frames if frame.event == "tool_call"]

    @property
    def tool_results(self) -> list[dict[str, Any]]:
        """The results of the site's tools: id (of the call), status, output, ms."""
        return [frame.data["tool_result"] for frame in self.frames if frame.event == "tool_result"]

    @property
    def waiting_calls(self) -> list[dict[str, Any]]:
        """The calls for which the reply waits: id, runs, editable. Empty if it does not wait."""
        last = self.frames[-1] if self.frames else None
        return last.data["approval"]["calls"] if last and last.event == "approval" else []

    @property
    def message_id(self) -> str:
        """The id of the reply."""
        return self.frames[0].id.partition("/")[0]

    def _data(self, *names: str) -> dict[str, Any]:
        for frame in self.frames:
            if frame.event in names:
                return frame.data
        got = [frame.event for frame in self.frames]
        raise KeyError(f"expected a frame named {' or '.join(names)}, got {got}.")


def read_stream(response: Any) -> Streamed:
    """Read the response of Django's test client to its end."""
    return Streamed(b"".join(response.streaming_content))


async def aread_stream(response: Any) -> Streamed:
    """Read the response of Django's AsyncClient to its end."""
    return Streamed(b"".join([part async for part in response.streaming_content]))


def read_until_waiting(response: Any) -> Streamed:
    """Read the response of Django's test client until the reply waits for answers to tool calls, and leave it.

    Raises AssertionError if it ends without waiting.
    """
    body = b""
    for part in response.streaming_content:
        body += part
        if _is_waiting(body):
            leave_stream(response)
            return Streamed(body)
    raise AssertionError("the reply ended, and did not wait for an answer.")


async def aread_until_waiting(response: Any) -> Streamed:
    """Do the same with the response of Django's AsyncClient."""
    body = b""
    async for part in response.streaming_content:
        body += part
        if _is_waiting(body):
            leave_stream(response)
            return Streamed(body)
    raise AssertionError("the reply ended, and did not wait for an answer.")


def answer_calls(client: Any, waiting: Streamed, *, calls: Iterable[str] | None = None, **answer: Any) -> Any:
    """Answer tool calls for which a reply waits, all alike, as the owner's client does; return the response, a stream.

    waiting: what `read_until_waiting` returned. calls: the ids of some of its calls; None: all. answer: `approved`,
    `reason`, `arguments` and `output` as in docs/http-api.md; by default, the calls are approved. Await it with an
    AsyncClient.
    """
    ids = [call["id"] for call in waiting.waiting_calls] if calls is None else calls
    answers = [{"call": call_id, **(answer or {"approved": True})} for call_id in ids]
    url = reverse("streaming_chat:api-answers", args=[waiting.message_id])
    return client.post(url, {"answers": answers, "stream": True}, content_type="application/json")


def leave_stream(response: Any) -> None:
    """Close the response of Django's test client before its end, as a server does whose client has left.

    Its own close() would close the connection that a TestCase's transaction is on: the client wraps the content in a
    generator which connects that receiver of request_finished again.
    """
    wrapper = getattr(response._iterator, "close", None)
    response._resource_closers = [close for close in response._resource_closers if close != wrapper]
    request_finished.disconnect(close_old_connections)
    try:
        response.close()
    finally:
        request_finished.connect(close_old_connections)


def _is_waiting(body: bytes) -> bool:
    return body.endswith(b"\n\n") and bool(Streamed(body).waiting_calls)


def _frame(block: str) -> Frame:
    fields = {"id": "", "event": "", "data": ""}
    for line in block.split("\n"):
        name, _colon, value = line.partition(": ")
        fields[name] = value
    data = fields["data"]
    return Frame(fields["id"], fields["event"], json.loads(data) if data.startswith("{") else data)
