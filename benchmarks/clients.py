"""Clients of the load: raw sockets in one event loop, lean enough for thousands of open streams."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from .stamps import SIZE, sent_at

ENDINGS = ("done", "stopped", "interrupted", "failed")
_CSRF = "a" * 32


class Exchange(asyncio.Protocol):
    """One request on a connection of its own, and its answer.

    status: of the answer, 0 before its head is here. text: of the stream so far. arrivals: of each token of it, when it
    came. message: the reply's id. ending: the name of its ending. started, ended: done at the first frame, and at the
    end of the answer, which may be a lost connection.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._body = b""
        self._is_chunked = False
        self._length = 0
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.asked = self.ended_at = 0.0
        self.status = 0
        self.text = self.message = self.ending = ""
        self.resets = 0
        self.arrivals: list[float] = []

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self._transport = transport
        self.asked = time.monotonic()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        if not self.status:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            self._take_head(head.decode("latin-1").lower())
            self._received = rest
        if self._is_chunked:
            self._take_chunks()
        elif len(self._received) >= self._length:
            self._body = self._received
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end()

    @property
    def body(self) -> bytes:
        """The body of an answer that was no stream."""
        return self._body

    def latencies(self) -> list[float]:
        """Return how long each token took from the provider to here, in seconds."""
        text = self.text
        return [at - sent_at(text[n * SIZE : n * SIZE + SIZE]) for n, at in enumerate(self.arrivals)]

    def close(self) -> None:
        """Leave."""
        self._transport.close()
        self._end()

    def _take_head(self, head: str) -> None:
        self.status = int(head.split(" ", 2)[1])
        self._is_chunked = "transfer-encoding: chunked" in head
        _, found, length = head.partition("content-length: ")
        self._length = int(length.split("\r\n")[0]) if found else 0

    def _take_chunks(self) -> None:
        now = time.monotonic()
        while True:
            size, found, rest = self._received.partition(b"\r\n")
            length = int(size, 16) if found else 0
            if not found or len(rest) < length + 2:
                return
            self._received = rest[length + 2 :]
            if not length:
                self.close()
                return
            *frames, self._body = (self._body + rest[:length]).split(b"\n\n")
            for frame in frames:
                self._take_frame(frame, now)

    def _take_frame(self, frame: bytes, now: float) -> None:
        event = place = data = ""
        for line in frame.decode("ascii").split("\n"):
            if line.startswith("data: "):
                data = line[6:]
            elif line.startswith("id: "):
                place = line[4:]
            elif line.startswith("event: "):
                event = line[7:]
        if data == "[DONE]":
            return
        if event == "reset":
            self.resets += 1
            self.text, self.arrivals = "", []
        elif event in ENDINGS:
            self.ending = event
            self.ended_at = now
        elif not self.message:
            self.message = place.partition("/")[0]
        self.text += json.loads(data)["text"]
        self.arrivals += [now] * (len(self.text) // SIZE - len(self.arrivals))
        if not self.started.done():
            self.started.set_result(None)

    def _end(self) -> None:
        for future in (self.started, self.ended):
            if not future.done():
                future.set_result(None)


async def ask(port: int, method: str, path: str, body: Any = None, session: str = "") -> Exchange:
    """Return an exchange whose request is sent."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        f"Cookie: sessionid={session}; csrftoken={_CSRF}",
        f"X-CSRFToken: {_CSRF}",
    ]
    request = "\r\n".join([*lines, "", ""]).encode() + data
    _, exchange = await asyncio.get_running_loop().create_connection(lambda: Exchange(request), "127.0.0.1", port)
    return exchange


async def send(port: int, session: str, **order: Any) -> Exchange:
    """Order a reply of the provider (see provider.py) in a new conversation."""
    return await ask(port, "POST", "/chat/api/messages", {"content": json.dumps(order)}, session)


async def follow(port: int, session: str, message: str) -> Exchange:
    """Follow a reply from its beginning."""
    return await ask(port, "GET", f"/chat/api/messages/{message}/events", None, session)


async def answer(port: int, method: str, path: str, body: Any = None, session: str = "") -> Any:
    """Return the JSON that answers a request. Raises RuntimeError for another status than a 2xx."""
    exchange = await ask(port, method, path, body, session)
    await exchange.ended
    if not 200 <= exchange.status < 300:
        raise RuntimeError(f"{method} {path} was answered with {exchange.status}: {exchange.body[:500]!r}")
    return json.loads(exchange.body or b"null")


async def until(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until the condition holds; False when it took longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
