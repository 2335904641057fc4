"""One HTTP request on a connection of its own, in the checker's loop, and the frames of its answer."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self

_RESET = struct.pack("ii", 1, 0)


class Cut(ConnectionError):
    """The answer ended before it was whole."""


class Frame(NamedTuple):
    """One frame of the simple format. id: "<message>/<position>" or "<message>/end"; "" of [DONE], whose data is None."""

    id: str
    event: str
    data: dict[str, Any] | None

    @property
    def position(self) -> int | None:
        """Units up to here; None of an ending."""
        number = self.id.rpartition("/")[2]
        return int(number) if number.isdecimal() else None


class Connection:
    """See the module. status: of the answer. Errors of the network are OSError, silence is TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self._headers: dict[str, str] = {}

    @property
    def is_stream(self) -> bool:
        """Whether the answer is made of frames."""
        return self._headers.get("content-type", "").startswith("text/event-stream")

    @classmethod
    async def ask(
        cls, port: int, method: str, path: str, headers: dict[str, str], body: Any = None, *, patience: float
    ) -> Self:
        """Return it once the head of the answer is here. body: for JSON, or its bytes. patience: seconds until then."""
        async with asyncio.timeout(patience):
            connection = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
            try:
                await connection._begin(method, path, headers, body)
            except BaseException:
                connection.leave("RST")
                raise
            return connection

    async def json(self, patience: float) -> Any:
        """Return the body of an answer that is no stream; None when it has none, its bytes when it is no JSON."""
        async with asyncio.timeout(patience):
            if "content-length" in self._headers:
                data = await self._exactly(int(self._headers["content-length"]))
            else:
                data = b"".join([chunk async for chunk in self._chunks(patience)])
        if not self._headers.get("content-type", "").startswith("application/json"):
            return data or None
        return json.loads(data)

    async def frames(self, patience: float) -> AsyncIterator[Frame]:
        """Yield the frames of a stream to its proper end. patience: seconds between two writes.

        Raises Cut when the stream ends otherwise.
        """
        rest = b""
        async for chunk in self._chunks(patience):
            rest += chunk
            *blocks, rest = rest.split(b"\n\n")
            for block in blocks:
                yield _frame(block)

    def leave(self, how: str) -> None:
        """Leave: "FIN" closes, "RST" resets."""
        if how == "RST":
            raw: socket.socket | None = self._writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._writer.transport.abort()
        else:
            self._writer.close()

    async def _begin(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        self.status = int((await self._line()).split()[1])
        while line := await self._line():
            name, _, value = line.decode("latin-1").partition(":")
            self._headers[name.lower()] = value.strip()

    async def _chunks(self, patience: float) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(patience):
                size = int(await self._line(), 16)
                data = (await self._exactly(size + 2))[:size]
            if not data:
                return
            yield data

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise Cut("the connection was closed.")
        return line.strip()

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise Cut("the connection was closed.") from error


def _frame(block: bytes) -> Frame:
    fields = {}
    for line in block.decode("ascii").split("\n"):
        name, _, value = line.partition(": ")
        if name and not line.startswith(":"):
            fields[name] = value
    data = fields["data"]
    return Frame(fields.get("id", ""), fields.get("event", "message"), None if data == "[DONE]" else json.loads(data))
