"""What saving costs: the writer's flushes, and the WAL that they make, at 10, 100 and 1,000 live replies.

    python -m benchmarks.writer_load [--count 10,100,1000] [--every 1.0] [--seconds 30]
    python -m benchmarks.writer_load --followed --notifiers redis,notify,polling --count 100

One process writes replies that nobody ends while it is measured. --followed: a second process follows all of them, as
where no reader is ever sent to the process that writes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import uvloop

from .crowds import Crowd
from .measures import Work, machine, milliseconds, percentile, postgres_cpu, table, usage_cpu, work
from .sites import Server, Site

_ENDING_SECONDS = 5.0
_HEADS = [
    "notifier",
    "live replies",
    "tokens/s",
    "flushes/s",
    "commits/s",
    "rows/s",
    "claims renewed/s",
    "WAL KB/s",
    "WAL bytes a row",
    "page images/s",
    "CPU of the writing process, cores",
    "of PostgreSQL",
]
_FOLLOWED_HEADS = [
    "of the following process",
    "of Redis",
    "Redis commands/s",
    "Redis KB a reply",
    "token there p50, ms",
    "p99, ms",
]


class Look(NamedTuple):
    """What had been used when."""

    work: Work
    writing: float
    following: float
    postgres: float
    redis: float
    commands: int


def main(words: Sequence[str]) -> None:
    """Measure each count, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", default="10,100,1000")
    arguments.add_argument("--every", type=float, default=1.0)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--followed", action="store_true")
    arguments.add_argument("--notifiers", default="polling")
    options = arguments.parse_args(words)
    counts = [int(count) for count in options.count.split(",")]
    print(machine(), flush=True)
    rows = []
    for notifier in options.notifiers.split(","):
        for count in counts:
            with Site(notifier, count) as site:
                rows.append([notifier, *uvloop.run(measure(site, count, options))])
    print(table([*_HEADS, *(_FOLLOWED_HEADS if options.followed else [])], rows))


async def measure(site: Site, count: int, options: argparse.Namespace) -> list[object]:
    """Return one row of the table."""
    server = await site.serve("writing").ready()
    follower = await site.serve("following").ready() if options.followed else None
    crowd = Crowd(site)
    empty = _redis(site, "used_memory")
    await crowd.gather(server, count, options.every)
    if follower:
        await crowd.follow(follower)
    # What opening them did is counted by now.
    await asyncio.sleep(5)
    first = _look(site, server, follower)
    await asyncio.sleep(options.seconds)
    last = _look(site, server, follower)
    memory = _redis(site, "used_memory") - empty
    await site.finish(_ENDING_SECONDS)
    await crowd.ended(60)
    row = _row(count, options.every, first, last)
    if follower:
        latencies = crowd.latencies(first.work.at, last.work.at, of=crowd.followers)
        seconds = last.work.at - first.work.at
        row += [f"{(last.following - first.following) / seconds:.2f}", f"{(last.redis - first.redis) / seconds:.2f}"]
        row += [round((last.commands - first.commands) / seconds), f"{memory / 1024 / count:.1f}"]
        row += [milliseconds(percentile(latencies, share)) for share in (50, 99)]
    return row


def _row(count: int, every: float, first: Look, last: Look) -> list[object]:
    before, after = first.work, last.work
    seconds = after.at - before.at
    wal, rows = after.wal - before.wal, after.events - before.events
    return [
        count,
        round(count / every),
        f"{(after.flushes - before.flushes) / seconds:.2f}",
        f"{(after.commits - before.commits) / seconds:.1f}",
        f"{rows / seconds:.0f}",
        f"{(after.claims - before.claims) / seconds:.0f}",
        f"{wal / 1024 / seconds:.1f}",
        f"{wal / max(rows, 1):.0f}",
        f"{(after.pages - before.pages) / seconds:.1f}",
        f"{(last.writing - first.writing) / seconds:.2f}",
        f"{(last.postgres - first.postgres) / seconds:.2f}",
    ]


def _look(site: Site, server: Server, follower: Server | None) -> Look:
    return Look(
        work(site),
        usage_cpu(server.pid),
        usage_cpu(follower.pid) if follower else 0.0,
        postgres_cpu(site),
        usage_cpu(site.valkey.pid or 0) if site.valkey else 0.0,
        _redis(site, "total_commands_processed"),
    )


def _redis(site: Site, name: str) -> int:
    if site.valkey is None:
        return 0
    found: Any = site.valkey.command("INFO", "everything")
    return int(found[name])


if __name__ == "__main__":
    main(sys.argv[1:])
