"""OpenAI's Responses API as tests/provider_server.py speaks it: one reasoning item, one message, then function calls."""

from __future__ import annotations

import json
from typing import Any

from . import tool_pairs
from .provider_server import Script

_CONTENT_TYPES = {"user": "input_text", "assistant": "output_text"}
_INCOMPLETE = ("max_output_tokens", "content_filter")


class ResponsesWire:
    """Speaks for one request, since the events have numbers."""

    headers = {"x-request-id": "req_loopback"}

    def __init__(self) -> None:
        self._number = -1
        self._index = -1
        self._item: dict[str, Any] | None = None

    def refusal(self, body: dict[str, Any]) -> Script | None:
        """Return the answer to a request whose messages the API rejects."""
        if problem := tool_pairs.problem_with_items(body):
            return Script(status=400, body={"error": {"type": "invalid_request_error", "message": problem}})
        for message in body["input"]:
            if "role" not in message:
                continue
            wanted = _CONTENT_TYPES[message["role"]]
            if any(part["type"] != wanted for part in message["content"]):
                error = {"type": "invalid_request_error", "code": "invalid_value", "message": f"It must be {wanted!r}."}
                return Script(status=400, body={"error": error})
        return None

    def opening(self, script: Script) -> bytes:
        started = {**self._response, "status": "in_progress", "output": []}
        return self._event("response.created", response=started) + self._event("response.in_progress", response=started)

    def reasoning(self, text: str) -> bytes:
        frame = b""
        if not self._is_in("reasoning"):
            frame = self._begin({"id": "rs_loopback", "type": "reasoning", "summary": []})
        return frame + self._event(
            "response.reasoning_summary_text.delta", summary_index=0, delta=text, item_id="rs_loopback", **self._place
        )

    def delta(self, text: str) -> bytes:
        frame = b""
        if not self._is_in("message"):
            frame = self._end() + self._begin({"id": "msg_loopback", "type": "message", "content": []})
        return frame + self._event(
            "response.output_text.delta",
            content_index=0,
            delta=text,
            item_id="msg_loopback",
            logprobs=[],
            **self._place,
        )

    def tool_call(self, index: int, name: str, arguments: str) -> bytes:
        item = {"id": f"fc_{index}", "type": "function_call", "call_id": f"call_{index}", "name": name}
        first = self._end() + self._begin({**item, "arguments": ""})
        delta = self._event(
            "response.function_call_arguments.delta", delta=arguments, item_id=item["id"], **self._place
        )
        return first + delta + self._end(arguments=arguments)

    def closing(self, script: Script) -> list[bytes]:
        frames = [self._end()]
        if (finish := self._finish(script)) == "completed":
            frames.append(self._event("response.completed", response=self._ended(script)))
        elif finish:
            frames.append(self._event("response.incomplete", response=self._ended(script)))
        return frames

    def ping(self) -> bytes:
        return b": ping\n\n"

    def error(self, payload: dict[str, Any] | None) -> bytes:
        return self._event("error", **(payload or {"code": "server_error", "message": "secret words", "param": None}))

    def whole(self, script: Script) -> dict[str, Any]:
        summary = [{"type": "summary_text", "text": "".join(script.reasoning)}]
        output: list[dict[str, Any]] = [{"type": "reasoning", "summary": summary}] if script.reasoning else []
        output.append({"type": "message", "content": [{"type": "output_text", "text": script.text, "annotations": []}]})
        output += [
            {"type": "function_call", "call_id": f"call_{index}", "name": name, "arguments": arguments}
            for index, (name, arguments) in enumerate(script.tool_calls)
        ]
        return {**self._ended(script), "output": output}

    _response = {"id": "resp_loopback", "object": "response", "model": "loopback", "error": None}

    @property
    def _place(self) -> dict[str, int]:
        return {"output_index": self._index}

    def _is_in(self, kind: str) -> bool:
        return self._item is not None and self._item["type"] == kind

    def _begin(self, item: dict[str, Any]) -> bytes:
        self._index += 1
        self._item = item
        return self._event("response.output_item.added", item={**item, "status": "in_progress"}, **self._place)

    def _end(self, **more: Any) -> bytes:
        item, self._item = self._item, None
        if item is None:
            return b""
        return self._event("response.output_item.done", item={**item, **more, "status": "completed"}, **self._place)

    def _finish(self, script: Script) -> str:
        return "completed" if script.finish is None else script.finish

    def _ended(self, script: Script) -> dict[str, Any]:
        finish = self._finish(script)
        response = {**self._response, "status": "completed", "incomplete_details": None, "usage": _usage(script.usage)}
        if finish in _INCOMPLETE:
            response |= {"status": "incomplete", "incomplete_details": {"reason": finish}}
        return response

    def _event(self, kind: str, **more: Any) -> bytes:
        self._number += 1
        payload = json.dumps({"type": kind, "sequence_number": self._number, **more}, ensure_ascii=False)
        return f"event: {kind}\ndata: {payload}\n\n".encode()


def _usage(usage: tuple[int, int] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage[0],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage[1],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sum(usage),
    }
