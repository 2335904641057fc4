"""Many open replies, each of a user of its own, while another client requests a page."""

from __future__ import annotations

import asyncio
import time

from .clients import Exchange, ask, follow, send
from .sites import Server, Site

# Sends under way at once while a crowd gathers.
_HANDS = 16


class Crowd:
    """Readers of replies that have no end until the provider is told so, by key `c0`, `c1`, …"""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.exchanges: dict[str, Exchange] = {}
        self.followers: dict[str, Exchange] = {}

    async def gather(self, server: Server, count: int, every: float) -> None:
        """Open so many replies, as fast as the server takes them. every: seconds between the tokens of each."""
        waiting = list(range(len(self.exchanges), len(self.exchanges) + count))

        async def send_each() -> None:
            while waiting:
                number = waiting.pop()
                key = f"c{number}"
                exchange = await send(server.port, self._site.sessions[number], key=key, every=every)
                self.exchanges[key] = exchange
                await exchange.started

        await asyncio.gather(*(send_each() for _hand in range(_HANDS)))

    async def follow(self, server: Server) -> None:
        """Follow all replies in another process, too."""
        waiting = list(self.exchanges)

        async def follow_each() -> None:
            while waiting:
                key = waiting.pop()
                session = self._site.sessions[int(key[1:])]
                self.followers[key] = await follow(server.port, session, self.exchanges[key].message)
                await self.followers[key].started

        await asyncio.gather(*(follow_each() for _hand in range(_HANDS)))

    async def ended(self, seconds: float) -> None:
        """Wait for the end of all answers, no longer than so many seconds."""
        everyone = [exchange.ended for exchange in [*self.exchanges.values(), *self.followers.values()]]
        await asyncio.wait(everyone, timeout=seconds)

    def latencies(self, since: float, until: float, of: dict[str, Exchange] | None = None) -> list[float]:
        """Return how long each token took that came in this time, in seconds. of: the first process's readers, or these."""
        found = []
        for exchange in (self.exchanges if of is None else of).values():
            pairs = zip(exchange.arrivals, exchange.latencies(), strict=True)
            found += [latency for at, latency in pairs if since <= at < until]
        return found

    def completed(self, calls: dict[str, dict[str, object]]) -> int:
        """Return how many readers have the whole of what was sent, and its ending."""
        return sum(
            exchange.ending == "done" and exchange.text == calls[key]["text"]
            for key, exchange in self.exchanges.items()
        )


class Visitor:
    """Somebody who asks for a page ten times a second, each time on a new connection. seconds: of each answer."""

    def __init__(self, server: Server, session: str, path: str) -> None:
        self._server = server
        self._session = session
        self._path = path
        self.seconds: list[float] = []
        self.failed = 0

    async def visit(self, seconds: float) -> None:
        """Ask for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            began = time.monotonic()
            exchange = await ask(self._server.port, "GET", self._path, None, self._session)
            await exchange.ended
            self.seconds.append(time.monotonic() - began)
            self.failed += exchange.status != 200
            await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - began)))
