"""A network line on loopback that a test can cut."""

import asyncio
import contextlib
import re
import threading
from typing import Self
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"^([A-Z]+) (\S+) HTTP/1.1\r$", re.MULTILINE)


class Line:
    """Forwards connections to a site; runs in a thread of its own. url: what to open instead of the site's."""

    def __init__(self, site: str) -> None:
        self.port = urlsplit(site).port
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        self._writers: set[asyncio.StreamWriter] = set()

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
        self._loop.call_soon_threadsafe(self._abort)

    def asked(self, method: str, path_end: str) -> int:
        """Return how many requests of this method went to a path that ends so."""
        return sum(asked == method and path.endswith(path_end) for asked, path in self.requests)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        server.close()
        self._abort()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site_reader, site_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers |= {writer, site_writer}
        await asyncio.gather(self._forward(reader, site_writer, note=True), self._forward(site_reader, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool = False) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if note:
                    self.requests += [(method.decode(), path.decode()) for method, path in _REQUEST.findall(data)]
                writer.write(data)
                await writer.drain()
        writer.close()
