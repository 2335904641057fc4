"""One visitor or user who attacks, with as many connections as they like, to all processes by turns."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from tests.chaos.connection import Connection, Cut

from .instance import Site

_CSRF = "a" * 32
_PATIENCE_SECONDS = 120.0
_ENDINGS = ("done", "stopped", "interrupted", "failed")


class Reply(NamedTuple):
    """What a send began. Both are "" where it was refused."""

    conversation: str = ""
    message: str = ""


class Attacker:
    """got: how often each answer came. wrong: what must not have happened. session: the cookie, "" for none."""

    def __init__(self, site: Site, session: str, address: str) -> None:
        self.site = site
        self.got: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._ports = itertools.cycle(site.ports)
        cookies = f"csrftoken={_CSRF}" + (f"; sessionid={session}" if session else "")
        # uvicorn takes the address from a proxy on this machine, so each attack has a network of its own.
        self._headers = {"Cookie": cookies, "X-CSRFToken": _CSRF, "X-Forwarded-For": address}

    async def open(self, method: str, path: str, body: Any = None, *, port: int = 0) -> Connection:
        """Return a connection whose head is here. path: below /chat/, or with a slash before it of the site."""
        headers = {**self._headers, "Content-Type": "application/json"} if body is not None else self._headers
        address = path if path.startswith("/") else f"/chat/{path}"
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        return await Connection.ask(
            port or next(self._ports), method, address, headers, data, patience=_PATIENCE_SECONDS
        )

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the whole answer's JSON or bytes, and count it."""
        try:
            connection = await self.open(method, path, body)
            content = await connection.json(_PATIENCE_SECONDS)
            connection.leave("FIN")
        except (OSError, TimeoutError) as error:
            self.got[type(error).__name__] += 1
            return None
        self.got[label(connection.status, content)] += 1
        return content

    async def send(self, path: str = "api/messages", **body: Any) -> Reply:
        """Send, read the reply to its end and count how it ended."""
        reply = Reply()
        try:
            connection = await self.open("POST", path, body)
            if not connection.is_stream:
                self.got[label(connection.status, await connection.json(_PATIENCE_SECONDS))] += 1
                return reply
            async for frame in connection.frames(_PATIENCE_SECONDS):
                if frame.event == "start" and frame.data:
                    reply = Reply(frame.data["conversation"], frame.data["message"])
                elif frame.event in _ENDINGS and frame.data:
                    self.got[_ending(frame.event, frame.data)] += 1
            connection.leave("FIN")
        except (OSError, TimeoutError) as error:
            self.got[type(error).__name__] += 1
        return reply

    async def pour(self, port: int, head: Iterable[str], pieces: Iterable[bytes]) -> int:
        """Write a body as long as the server takes it, count the answer, and return how many bytes were taken."""
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setblocking(False)
            await loop.sock_sendall(connection, "\r\n".join([*head, "Host: localhost", "", ""]).encode())
            # Not asyncio's streams: they drop what has come when the connection is reset.
            answered = asyncio.create_task(loop.sock_recv(connection, 1 << 16))
            taken = 0
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    if answered.done():
                        break
                    await loop.sock_sendall(connection, piece)
                    taken += len(piece)
            with contextlib.suppress(ConnectionError):
                await answered
        line = b"" if answered.exception() else answered.result()
        status = line.split()[1].decode() if line.startswith(b"HTTP/") else "cut"
        self.got[f"{status} after {taken / 1e6:.0f} MB"] += 1
        return taken

    def went_wrong(self, what: str) -> None:
        """Note what must not have happened, once."""
        if what not in self.wrong:
            self.wrong.append(what)


def label(status: int, content: Any) -> str:
    """Return an answer's status and code."""
    code = content["error"]["code"] if isinstance(content, dict) and isinstance(content.get("error"), dict) else ""
    return f"{status} {code}".strip()


def _ending(event: str, data: dict[str, Any]) -> str:
    return f"{event} {(data.get('error') or {}).get('code') or data.get('end_reason', '')}".strip()


async def times(count: int, at_once: int, do: Callable[[int], Awaitable[Any]]) -> None:
    """Do something so many times, so many at once."""
    numbers = iter(range(count))

    async def take() -> None:
        for number in numbers:
            await do(number)

    await asyncio.gather(*(take() for _ in range(at_once)))


async def rest(connection: Connection) -> AsyncIterator[str]:
    """Yield the names of a stream's events until it is closed."""
    try:
        async for frame in connection.frames(_PATIENCE_SECONDS):
            if frame.data is not None:
                yield frame.event
    except Cut:
        return
