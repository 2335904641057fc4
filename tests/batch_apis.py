"""The batch APIs of OpenAI and Anthropic on loopback, for tests. A batch ends when the test says so.

Each prompt is answered "Answer to <its last message>", except those in `outcomes`, which are "rejected" or "expired".
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class BatchServer:
    """Both APIs. batches: the prompts of each batch, by id. requests: (method, path, headers), in their order."""

    def __init__(self) -> None:
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.batches: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.outcomes: dict[str, str] = {}
        self.is_ended = False
        self.refuses = False
        self.drops_submissions = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"apis": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, prompts: list[dict[str, Any]]) -> str:
        """Return the id of a new batch."""
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = prompts
        return name

    def outcome(self, messages: list[dict[str, str]]) -> str:
        return self.outcomes.get(messages[-1]["content"], "answered")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    apis: BatchServer

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["content-length"])))

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _serve(self, body: bytes) -> None:
        self.apis.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.apis.refuses:
            self._send(429, {"error": {"message": "busy", "type": "rate_limit_error"}})
            return
        for pattern, answer in _ROUTES.items():
            if found := re.fullmatch(pattern, f"{self.command} {self.path}"):
                if self.command == "POST" and self.apis.drops_submissions and "files" not in self.path:
                    answer(self.apis, body, *found.groups())
                    self.close_connection = True
                    return
                self._send(200, answer(self.apis, body, *found.groups()))
                return
        self._send(404, {"error": {"message": self.path}})

    def _send(self, status: int, value: Any) -> None:
        lines = value if isinstance(value, list) else [value]
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _upload(apis: BatchServer, body: bytes) -> dict[str, Any]:
    assert b'name="purpose"\r\n\r\nbatch\r\n' in body.replace(b"Content-Type: text/plain; charset=utf-8\r\n", b"")

    lines = [json.loads(line) for line in body.splitlines() if line.startswith(b'{"custom_id"')]
    name = f"file_{len(apis.files) + 1}"
    apis.files[name] = lines
    return {"id": name}


def _create_openai(apis: BatchServer, body: bytes) -> dict[str, Any]:
    asked = json.loads(body)

    lines = apis.files[asked["input_file_id"]]

    assert asked["completion_window"] == "24h"
    assert {line["url"] for line in lines} == {asked["endpoint"]}

    return {"id": apis.add(lines), "status": "validating"}


def _openai_state(apis: BatchServer, body: bytes, name: str) -> dict[str, Any]:
    total = len(apis.batches[name])
    if not apis.is_ended:
        return {"id": name, "status": "in_progress", "request_counts": {"total": total, "completed": 0, "failed": 0}}
    counts = {"total": total, "completed": total, "failed": 0}
    files = {"output_file_id": f"{name}-output", "error_file_id": f"{name}-error"}
    return {"id": name, "status": "completed", "request_counts": counts, **files}


def _openai_content(apis: BatchServer, body: bytes, name: str, kind: str) -> list[dict[str, Any]]:
    results = [_openai_result(line, apis.outcome(_messages(line["body"]))) for line in apis.batches[name]]
    return [result for result in results if (result.get("error") is None) == (kind == "output")]


def _openai_result(line: dict[str, Any], outcome: str) -> dict[str, Any]:
    if outcome == "expired":
        return {"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired"}}
    body = {"error": {"message": "prompt is too long", "code": "context_length_exceeded"}}
    status = 400
    if outcome == "answered":
        text = f"Answer to {_messages(line['body'])[-1]['content']}"
        body, status = _response(text) if line["url"] == "/v1/responses" else _completion(text), 200
    return {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a prompt for either API, with texts as their content."""
    return body.get("messages") or [{"content": item["content"][0]["text"]} for item in body["input"]]


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 4}}


def _response(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    usage = {"input_tokens": 7, "output_tokens": 4}
    return {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": usage}


def _create_anthropic(apis: BatchServer, body: bytes) -> dict[str, Any]:
    return {"id": apis.add(json.loads(body)["requests"]), "processing_status": "in_progress"}


def _anthropic_state(apis: BatchServer, body: bytes, name: str) -> dict[str, Any]:
    total = len(apis.batches[name])
    counts = {"processing": total, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    if apis.is_ended:
        counts |= {"processing": 0, "succeeded": total}
    return {"id": name, "processing_status": "ended" if apis.is_ended else "in_progress", "request_counts": counts}


def _anthropic_results(apis: BatchServer, body: bytes, name: str) -> list[dict[str, Any]]:
    return [
        {"custom_id": line["custom_id"], "result": _anthropic_result(line, apis.outcome(line["params"]["messages"]))}
        for line in apis.batches[name]
    ]


def _anthropic_result(line: dict[str, Any], outcome: str) -> dict[str, Any]:
    if outcome == "expired":
        return {"type": "expired"}
    if outcome == "rejected":
        error = {"type": "invalid_request_error", "message": "prompt is too long"}
        return {"type": "errored", "error": {"type": "error", "error": error}}
    text = f"Answer to {line['params']['messages'][-1]['content']}"
    usage = {"input_tokens": 7, "output_tokens": 4}
    content = [{"type": "text", "text": text}]
    message = {"type": "message", "id": "msg_1", "content": content, "stop_reason": "end_turn", "usage": usage}
    return {"type": "succeeded", "message": message}


_ROUTES: dict[str, Any] = {
    r"POST /v1/files": _upload,
    r"POST /v1/batches": _create_openai,
    r"GET /v1/batches/(\w+)": _openai_state,
    r"GET /v1/files/(\w+)-(output|error)/content": _openai_content,
    r"POST /v1/messages/batches": _create_anthropic,
    r"GET /v1/messages/batches/(\w+)": _anthropic_state,
    r"GET /v1/messages/batches/(\w+)/results": _anthropic_results,
}
