"""A model provider in a process of its own, whose models misbehave. It prints its port.

REPLIES has what each model answers: the status, and the body as pieces, between which None is a pause of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

Body = Iterator[bytes | None]

_KB = 1000
_MB = 1_000_000
_PIECE = b"x" * _MB


def answer() -> Body:
    """A short reply."""
    yield from map(_text, ("Hel", "lo ", "wörld"))
    yield _end()


def slow() -> Body:
    """A reply of a word a second, for longer than anybody waits."""
    for number in range(600):
        yield _text(f"{number} ")
        yield None
    yield _end()


def refusal() -> Body:
    """An error at once, which is not worth a second try."""
    yield b'{"error": {"message": "No such key.", "type": "invalid_request_error"}}'


def tool_calls(count: int) -> Body:
    """So many calls of 900 KB each."""
    arguments = json.dumps({"value": "x" * 900 * _KB})
    for number in range(count):
        yield _call(number, f"call{number}", "look_up", arguments)
    yield _end("tool_calls")


def unfinished_arguments() -> Body:
    """Nearly 1 MB of one call's arguments, and then 3,000 deltas, each of which might begin another call."""
    yield _call(0, "call", "look_up", '{"value": "' + "x" * 990 * _KB)
    for number in range(3000):
        yield _call(0, f"call{number}", "look_up", "x")
    yield _end("tool_calls")


def degenerate_markdown() -> Body:
    """31 parts of 32 KB, each a list of thousands of items."""
    for _number in range(31):
        yield _text("1. a\n" * (32 * _KB // 5))
        yield _delta(reasoning_content="…")
    yield _end()


def gigabyte() -> Body:
    """1 GB of nothing."""
    for _number in range(1000):
        yield _PIECE


def one_word() -> Body:
    """4 MB without a space."""
    for _number in range(4):
        yield _PIECE


REPLIES: dict[str, tuple[int, Callable[[], Body]]] = {
    "answer": (200, answer),
    "slow": (200, slow),
    "refusal": (401, refusal),
    "300-calls": (200, lambda: tool_calls(300)),
    "2000-calls": (200, lambda: tool_calls(2000)),
    "unfinished": (200, unfinished_arguments),
    "markdown": (200, degenerate_markdown),
    "gigabyte": (500, gigabyte),
    "one-word": (500, one_word),
}


def _text(text: str) -> bytes:
    return _delta(content=text)


def _call(index: int, id: str, name: str, arguments: str) -> bytes:
    call = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return _delta(tool_calls=[call])


def _delta(**delta: Any) -> bytes:
    return _event({"delta": delta, "finish_reason": None})


def _end(reason: str = "stop") -> bytes:
    return _event({"delta": {}, "finish_reason": reason}) + b"data: [DONE]\n\n"


def _event(choice: dict[str, Any]) -> bytes:
    chunk = {"id": "1", "object": "chat.completion.chunk", "model": "any", "choices": [{"index": 0, **choice}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def serve() -> None:
    """Serve at a low priority until the process is ended."""
    os.nice(10)
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  (the parent process reads the port)
    await server.serve_forever()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        request = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        await _answer(writer, *REPLIES[request["model"]])
    writer.close()


async def _answer(writer: asyncio.StreamWriter, status: int, body: Callable[[], Body]) -> None:
    content_type = "text/event-stream" if status == 200 else "application/json"
    writer.write(f"HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n".encode())
    for piece in body():
        if piece is None:
            await asyncio.sleep(1)
        else:
            writer.write(piece)
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(serve())
