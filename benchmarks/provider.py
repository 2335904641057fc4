"""A model provider in a process of its own, lean enough for thousands of open replies, which records what it sent.

It speaks chat.completions on a free port, which it prints. The last user message of a call orders the reply, in JSON:

    {"key": "r1", "every": 1.0, "tokens": 60}

key: under which the call is recorded. every: seconds between tokens. tokens: how many; without it, until it is told to
finish. GET /calls tells of each key what was sent and when the app closed the connection; POST /finish ends all replies,
each at a random moment of the next so many seconds (the body).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from .stamps import stamp

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"any","choices":[{"index":0,'
_TEXT = "data: " + _CHUNK + '"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
_LAST = "data: " + _CHUNK + '"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@dataclass(slots=True)
class Call:
    """One reply. text: what was sent. closed: when the app closed the connection before the reply was whole."""

    text: str = ""
    closed: float | None = None
    is_whole: bool = False


class Replies:
    """All calls, by key, and those that are open."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.open: set[Connection] = set()


class Connection(asyncio.Protocol):
    """One connection of the app's, or of the benchmark's. One request at a time, as HTTP/1.1 has it."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._call is not None:
            self._call.closed = time.monotonic()
            self._leave()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        self._answer(lines[0].split()[1], rest[:length])

    def finish_within(self, seconds: float) -> None:
        """End the reply at a random moment of the next so many seconds."""
        self._loop.call_later(random.uniform(0, seconds), self._finish, self._call)  # noqa: S311  (no secret)

    def _answer(self, path: str, body: bytes) -> None:
        if path == "/calls":
            self._say(json.dumps({key: asdict(call) for key, call in self._replies.calls.items()}).encode())
        elif path == "/finish":
            for connection in list(self._replies.open):
                connection.finish_within(float(body))
            self._say(b"{}")
        else:
            self._begin(json.loads(json.loads(body)["messages"][-1]["content"]))

    def _say(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    def _begin(self, order: dict[str, Any]) -> None:
        self._call = self._replies.calls[order["key"]] = Call()
        self._replies.open.add(self)
        self._every = order["every"]
        self._left = order.get("tokens")
        self._due = self._loop.time()
        self._transport.write(_HEAD)
        self._send()

    def _send(self) -> None:
        call = self._call
        if call is None:
            return
        if self._left is not None:
            if self._left == 0:
                self._finish(call)
                return
            self._left -= 1
        token = stamp(time.monotonic())
        call.text += token
        self._write(_TEXT % token)
        self._due += self._every
        self._timer = self._loop.call_at(self._due, self._send)

    def _finish(self, call: Call) -> None:
        if call is self._call:
            call.is_whole = True
            self._write(_LAST)
            self._transport.write(b"0\r\n\r\n")
            self._leave()

    def _write(self, text: str) -> None:
        data = text.encode()
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _leave(self) -> None:
        self._call = None
        self._replies.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()


async def serve() -> None:
    """Serve until the process is ended."""
    replies = Replies()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(replies), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
