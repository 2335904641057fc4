"""What is read of processes and of PostgreSQL, and how it is printed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .sites import Site

_TICKS = os.sysconf("SC_CLK_TCK")


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that so many percent of these do not exceed; NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(share) // 100) - 1))]


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def milliseconds(seconds: float) -> str:
    """Return a figure of a table."""
    return f"{seconds * 1000:.1f}"


def machine() -> str:
    """Return on what this was measured, and how busy it is."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{len(names)} cores, {names[0]}; load before: {os.getloadavg()[0]:.2f}"


class Usage(NamedTuple):
    """Of one process: proportional set size in KB, seconds of CPU, threads."""

    kilobytes: int
    cpu: float
    threads: int


def usage(pid: int) -> Usage:
    """Return what a process uses now."""
    folder = Path(f"/proc/{pid}")
    rollup = (folder / "smaps_rollup").read_text()
    kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return Usage(kilobytes, (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[17]))


def postgres_cpu(site: Site) -> float:
    """Return the seconds of CPU of all PostgreSQL's processes that live, in all."""
    own = site.postgres_pid
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    return sum(usage_cpu(int(pid)) for pid in [own, *children])


def cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU of a process, to the nanosecond, where `usage` counts hundredths."""
    # CPUCLOCK_SCHED of a process, as clock_getcpuclockid makes it on Linux.
    return time.clock_gettime(~pid << 3 | 2)


def usage_cpu(pid: int) -> float:
    """Return a process's seconds of CPU; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def connections(site: Site, name: str) -> int:
    """Return how many connections a server has."""
    return site.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", name)[0][0]


class Work(NamedTuple):
    """What PostgreSQL has done since it began.

    at: when, by time.monotonic(). wal: bytes. pages: full page images among its records. flushes: transactions
    that wrote replies' events. claims: updates of live replies' rows. events: rows of replies' events.
    """

    at: float
    commits: int
    wal: int
    pages: int
    flushes: int
    claims: int
    events: int


_WORK = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
       (SELECT wal_fpi FROM pg_stat_wal),
       (SELECT count(DISTINCT xmin::text) FROM streaming_chat_replyevent),
       (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'streaming_chat_livereply'),
       (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'streaming_chat_replyevent')
"""


def work(site: Site) -> Work:
    """Return what PostgreSQL has done so far; its counters are a second late."""
    return Work(time.monotonic(), *site.query(_WORK)[0])


async def sample(seconds: float, look: Any) -> list[Any]:
    """Return what `look` returned once a second for so long; it runs in a thread."""
    found = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found.append(await asyncio.to_thread(look))
        await asyncio.sleep(1)
    return found
