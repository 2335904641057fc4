"""How many threads all requests of one process should share (`streaming_chat.asgi`), on PostgreSQL.

    python -m benchmarks.shared_threads [--threads 2 --threads 4] [--clients 16] [--seconds 10] [--rounds 3]

So many clients send one message after the other, each answered by a reply of one token, while a client requests another
page ten times a second. A round measures each number of threads once; the table has the medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence

import uvloop

from .clients import send
from .crowds import Visitor
from .measures import connections, machine, percentile, sample, table, usage
from .sites import Site

_PAGE = "/chat/api/models"
_WARM_UP_SECONDS = 3.0
_HEADS = ["threads", "sends/s", "send p50, ms", "p95, ms", "other page p50, ms", "p95, ms"]
_HEADS += ["CPU a send, ms", "memory, MB", "connections"]


def main(words: Sequence[str]) -> None:
    """Measure each number of threads, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, action="append")
    arguments.add_argument("--clients", type=int, default=16)
    arguments.add_argument("--seconds", type=float, default=10.0)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args(words)
    counts = options.threads or sorted({2, 4, 8, (os.cpu_count() or 1) + 4})
    print(machine(), flush=True)
    found: dict[int, list[list[float]]] = {threads: [] for threads in counts}
    for _round in range(options.rounds):
        for threads in counts:
            with Site("polling", options.clients + 1) as site:
                found[threads].append(uvloop.run(measure(site, threads, options.clients, options.seconds)))
    medians = {threads: map(statistics.median, zip(*rows, strict=True)) for threads, rows in found.items()}
    print(table(_HEADS, ([threads, *(f"{value:.1f}" for value in row)] for threads, row in medians.items())))


async def measure(site: Site, threads: int, clients: int, seconds: float) -> list[float]:
    """Return one row of the table."""
    server = site.serve("server", threads=threads)
    await server.ready()
    await asyncio.gather(*(_send(site, server.port, session, _WARM_UP_SECONDS) for session in site.sessions[:clients]))
    visitor = Visitor(server, site.sessions[-1], _PAGE)
    before = usage(server.pid)
    sending = [_send(site, server.port, session, seconds) for session in site.sessions[:clients]]
    *lasted, connected, _visited = await asyncio.gather(
        *sending, sample(seconds, lambda: connections(site, "server")), visitor.visit(seconds)
    )
    after = usage(server.pid)
    each = [value for values in lasted for value in values]
    return [
        len(each) / seconds,
        *(1000 * percentile(each, share) for share in (50, 95)),
        *(1000 * percentile(visitor.seconds, share) for share in (50, 95)),
        1000 * (after.cpu - before.cpu) / len(each),
        after.kilobytes / 1024,
        max(connected),
    ]


async def _send(site: Site, port: int, session: str, seconds: float) -> list[float]:
    """Send one message after the other; return how long each took, in seconds."""
    lasted = []
    deadline = time.monotonic() + seconds
    while (began := time.monotonic()) < deadline:
        exchange = await send(port, session, key=f"{session}{began}", every=0.0, tokens=1)
        await exchange.ended
        if exchange.ending != "done":
            raise RuntimeError(
                f"a reply ended with status {exchange.status}, {exchange.ending!r}: {exchange.body[:200]!r}"
            )
        lasted.append(time.monotonic() - began)
    return lasted


if __name__ == "__main__":
    main(sys.argv[1:])
