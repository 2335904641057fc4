"""A receiver of webhooks on loopback, which verifies the signature of each request and answers as it is told.

    with Receiver(failures=2) as receiver:
        …                                   # STREAMING_CHAT_ALERT_WEBHOOK_URL is receiver.url
        wait_until(lambda: receiver.accepted)

failures: how many of the first requests for each alert are answered with 503.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
_TOLERANCE_SECONDS = 300


class Request(NamedTuple):
    """One request. status: the answer."""

    id: str
    body: dict[str, Any]
    raw: bytes
    headers: dict[str, str]
    status: int


class Receiver:
    def __init__(self, failures: int = 0, status: int = 204) -> None:
        self.requests: list[Request] = []
        self._failures = failures
        self._status = status
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a site that sends to it."""
        return {"STREAMING_CHAT_ALERT_WEBHOOK_URL": self.url, "STREAMING_CHAT_ALERT_WEBHOOK_SECRET": SECRET}

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The bodies of the requests that were answered with a success."""
        return [request.body for request in list(self.requests) if request.status < 300]

    def receive(self, headers: dict[str, str], raw: bytes) -> int:
        """Note a request, and return the status to answer with."""
        with self._lock:
            pk = headers["webhook-id"]
            self._tries[pk] += 1
            status = 503 if self._tries[pk] <= self._failures else self._status
            status = status if is_signed(headers, raw) else 401
            self.requests.append(Request(pk, json.loads(raw), raw, headers, status))
            return status

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.receive({name.lower(): value for name, value in self.headers.items()}, raw)
                self.send_response(status)
                if status in (301, 302, 303, 307):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def is_signed(headers: dict[str, str], raw: bytes) -> bool:
    """Verify a request as the specification says; written apart from the code that signs."""
    timestamp = headers["webhook-timestamp"]
    signed = f"{headers['webhook-id']}.{timestamp}.".encode() + raw
    digest = hmac.new(base64.b64decode(SECRET.split("_", 1)[1]), signed, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    is_recent = abs(time.time() - int(timestamp)) < _TOLERANCE_SECONDS
    return is_recent and hmac.compare_digest(expected, headers["webhook-signature"])
