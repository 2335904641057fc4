"""Network lines on loopback that a test can break: cut, silent, away, or with a proxy that buffers."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"^([A-Z]+) (\S+) HTTP/1.1\r$", re.MULTILINE)
_LAST_CHUNK = b"0\r\n\r\n"


class Line:
    """Forwards connections to a site; runs in a thread of its own. url: what to open instead of the site's."""

    def __init__(self, site: str) -> None:
        self.port = urlsplit(site).port
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._readers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *args: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def cut(self) -> None:
        """Reset all connections; new ones are taken."""
        self._do(self._abort)

    def lead_to(self, site: str) -> None:
        """Reset all connections; new ones go to another server."""
        self.port = urlsplit(site).port
        self.cut()

    def end(self) -> None:
        """End the streams in good form, as a proxy does at its limit; new connections are taken."""
        self._do(self._finish)

    def stall(self) -> None:
        """Carry nothing any more, and close nothing; new connections are taken and carry nothing either."""
        self._do(self._flowing.clear)

    def flow(self) -> None:
        """Carry again."""
        self._do(self._flowing.set)

    def asked(self, method: str, path_end: str) -> int:
        """Return how many requests of this method went to a path that ends so."""
        return sum(asked == method and path.endswith(path_end) for asked, path in self.requests)

    def _do(self, act: Callable[[], object]) -> None:
        """Do this in the line's thread, and return once it is done."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(), done.set()))
        done.wait()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        server.close()
        self._abort()
        self._flowing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self._readers.clear()

    def _finish(self) -> None:
        for reader in self._readers:
            reader.write(_LAST_CHUNK)
            reader.close()
        self._readers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            site_reader, site_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            writer.transport.abort()
            return
        self._writers |= {writer, site_writer}
        self._readers.add(writer)
        await asyncio.gather(self._ask(reader, site_writer), self._answer(site_reader, writer))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._forward(reader, writer, self._note)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._forward(reader, writer)

    def _note(self, data: bytes) -> bytes:
        self.requests += [(method.decode(), path.decode()) for method, path in _REQUEST.findall(data)]
        return data

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes] = bytes
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                # Before the wait: what came to a line that carries nothing was asked all the same.
                data = change(data)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class BufferingLine(Line):
    """A line with a proxy that hands over an event stream only when it is whole.

    holds_headers: also its status and headers.
    """

    def __init__(self, site: str, *, holds_headers: bool) -> None:
        super().__init__(site)
        self.holds_headers = holds_headers

    def _note(self, data: bytes) -> bytes:
        # One request a connection: its answer ends with the connection.
        return super()._note(data).replace(b"Connection: keep-alive\r\n", b"Connection: close\r\n", 1)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            held = b"text/event-stream" in head
            if held and not self.holds_headers:
                writer.write(head)
                head = b""
            writer.write(head + (await reader.read() if held else b""))
        await self._forward(reader, writer)
