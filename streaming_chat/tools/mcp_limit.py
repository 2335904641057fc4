"""Limits what a server sends in one connection. Imported by the first connection, with the package `mcp`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from httpx2 import AsyncByteStream, Response, TransportError


class TooMuch(TransportError):
    """The server has sent more than it may."""


class ReceiveLimit:
    """Counts the bytes of all responses, and ends the connection once they are too many.

    timeout: around all that the connection is used for. The package would otherwise connect again after such an error.
    """

    def __init__(self, max_bytes: int, timeout: asyncio.Timeout) -> None:
        self.is_exceeded = False
        self._left = max_bytes
        self._timeout = timeout

    async def watch(self, response: Response) -> None:
        """Count what is read of a response: a hook of the HTTP client."""
        # Nothing else was asked for. A short compressed response can be a very long one.
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._exceed()
        stream = response.stream
        if isinstance(stream, AsyncByteStream):
            response.stream = _Counted(stream, self._count)

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._exceed()

    def _exceed(self) -> TooMuch:
        self.is_exceeded = True
        self._timeout.reschedule(asyncio.get_running_loop().time())
        return TooMuch("The server has sent more than it may.")


class _Counted(AsyncByteStream):
    def __init__(self, stream: AsyncByteStream, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._count(len(data))
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
