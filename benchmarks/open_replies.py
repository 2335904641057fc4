"""What one process holds: many open replies at 1 token a second each, or one in so many seconds, on PostgreSQL.

    python -m benchmarks.open_replies --count 1000 [--count 5000] [--seconds 60] [--every 1]

The replies are opened as fast as the process takes them; once all are open it is measured for so many seconds, then
the provider ends them all within 20 s. The load, the provider and PostgreSQL run on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

import uvloop

from .crowds import Crowd, Visitor
from .measures import Usage, connections, machine, milliseconds, percentile, sample, table, usage
from .sites import Server, Site

_PAGE = "/chat/api/models"
_ENDING_SECONDS = 20.0


def main(words: Sequence[str]) -> None:
    """Measure each count on a site of its own, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, action="append", required=True)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--every", type=float, default=1.0)
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    rows = []
    for count in options.count:
        with Site("polling", count + 1, STREAMING_CHAT_MAX_LIVE_REPLIES=count + 100) as site:
            rows.append(uvloop.run(measure(site, count, options.seconds, options.every)))
    heads = ["replies", "completed", "opened in, s", "KB each", "threads", "connections", "token p50, ms", "p99, ms"]
    print(table([*heads, "other page p50, ms", "p95, ms", "alone p95, ms", "CPU, cores"], rows))


async def measure(site: Site, count: int, seconds: float, every: float) -> list[object]:
    """Return one row of the table."""
    server = await site.serve("server").ready()
    alone = Visitor(server, site.sessions[-1], _PAGE)
    crowd = Crowd(site)
    # The first one imports the provider's SDK and starts the threads.
    await crowd.gather(server, 1, every)
    await alone.visit(5)
    before = usage(server.pid)
    began = time.monotonic()
    await crowd.gather(server, count - 1, every)
    opened = time.monotonic()
    # What a request needs while it is opened is given back, and reused.
    await asyncio.sleep(5)
    since, cpu = time.monotonic(), usage(server.pid).cpu
    visitor = Visitor(server, site.sessions[-1], _PAGE)
    samples, _visited = await asyncio.gather(sample(seconds, lambda: _look(site, server)), visitor.visit(seconds))
    until = time.monotonic()
    cpu = (usage(server.pid).cpu - cpu) / (until - since)
    held = samples[-1][0].kilobytes - before.kilobytes
    latencies = crowd.latencies(since, until)
    await site.finish(_ENDING_SECONDS)
    await crowd.ended(120)
    return [
        count,
        crowd.completed(await site.calls()),
        f"{opened - began:.0f}",
        f"{held / (count - 1):.1f}",
        max(look.threads for look, _connections in samples),
        max(connected for _look, connected in samples),
        *(milliseconds(percentile(latencies, share)) for share in (50, 99)),
        *(milliseconds(percentile(visitor.seconds, share)) for share in (50, 95)),
        milliseconds(percentile(alone.seconds, 95)),
        f"{cpu:.2f}",
    ]


def _look(site: Site, server: Server) -> tuple[Usage, int]:
    return usage(server.pid), connections(site, "server")


if __name__ == "__main__":
    main(sys.argv[1:])
