"""What running streams notice when many sends arrive at once.

    python -m benchmarks.bursts [--database postgres] [--threads 2 --threads 4] [--workers 2] [--rounds 5]

100 streams run at 10 tokens a second each. In a round, 100 users send one message each within 0.3 s, answered by 20 tokens
at 20 a second. The tokens of the running streams are measured while nothing else happens, and from a burst's first send
until its last first token. The load, the provider and the database run on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import uvloop

from .clients import Exchange, send
from .crowds import Crowd
from .measures import machine, milliseconds, percentile, table
from .sites import Server, Site

_STREAMS = 100
_SENDS = 100
_BURST_SECONDS = 0.3
_QUIET_SECONDS = 4.0
_HEADS = ["database", "processes", "threads", "token alone: p50, ms", "p99", "max", "in bursts: p50, ms", "p99", "max"]
_HEADS += ["first token of the sends: p50, ms", "p95", "max", "failed"]


class Burst(NamedTuple):
    """One round. since, until: by time.monotonic()."""

    since: float
    until: float
    sends: list[Exchange]


def main(words: Sequence[str]) -> None:
    """Measure each number of threads, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    arguments.add_argument("--threads", type=int, action="append")
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    rows = []
    for threads in options.threads or [4]:
        with Site("polling", _STREAMS + _SENDS, database=options.database) as site:
            server = site.serve("server", "--workers", str(options.workers), threads=threads)
            figures = uvloop.run(measure(site, server, options.rounds))
        rows.append([options.database, options.workers, threads, *figures])
    print(table(_HEADS, rows))


async def measure(site: Site, server: Server, rounds: int) -> list[object]:
    """Return the figures of one row."""
    await server.ready()
    streams = Crowd(site)
    await streams.gather(server, _STREAMS, 0.1)
    # A process's first sends take longer.
    await burst(site, server, "warm")
    alone: list[float] = []
    during: list[float] = []
    sends: list[Exchange] = []
    for number in range(rounds):
        since = time.monotonic()
        await asyncio.sleep(_QUIET_SECONDS)
        alone += streams.latencies(since, time.monotonic())
        found = await burst(site, server, str(number))
        during += streams.latencies(found.since, found.until)
        sends += found.sends
    firsts = [exchange.arrivals[0] - exchange.asked for exchange in sends if exchange.arrivals]
    return [
        *(milliseconds(percentile(alone, share)) for share in (50, 99, 100)),
        *(milliseconds(percentile(during, share)) for share in (50, 99, 100)),
        *(milliseconds(percentile(firsts, share)) for share in (50, 95, 100)),
        sum(exchange.ending != "done" for exchange in sends),
    ]


async def burst(site: Site, server: Server, name: str) -> Burst:
    """Send the messages, and return once all replies have ended."""
    since = time.monotonic()

    async def send_one(number: int) -> Exchange:
        await asyncio.sleep(number * _BURST_SECONDS / _SENDS)
        session = site.sessions[_STREAMS + number]
        exchange = await send(server.port, session, key=f"{name}/{number}", every=0.05, tokens=20)
        await exchange.ended
        return exchange

    sends = await asyncio.gather(*(send_one(number) for number in range(_SENDS)))
    until = max((exchange.arrivals[0] for exchange in sends if exchange.arrivals), default=time.monotonic())
    return Burst(since, until, sends)


if __name__ == "__main__":
    main(sys.argv[1:])
