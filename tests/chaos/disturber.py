"""Breaks things, at random from a seed: kills, ends, pauses and restarts workers, the database and Valkey.

The database is up for a while between two outages. One of more than 30 s makes replies end as not_saved, if their workers
live so long: nothing else is broken then.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from .cluster import Cluster, Worker
from .history import History

_UP_SECONDS = 4.0
_DARK_SECONDS = 30.0

Fault = Callable[[], Awaitable[Any]]


class Disturber:
    """One fault after another, and in between some at once."""

    def __init__(
        self, cluster: Cluster, history: History, seed: int, *, lease: float, pace: float, outage: float
    ) -> None:
        """pace: seconds between two faults, on average. outage: longest of the database, in seconds."""
        self._cluster = cluster
        self._history = history
        self._rng = random.Random(f"{seed}/disturber")
        self._lease = lease
        self._pace = pace
        self._outage = outage
        self._busy: set[Worker] = set()
        self._worker_faults: list[tuple[Fault, int]] = [
            (self._kill, 6),
            (self._terminate, 4),
            (self._terminate_impatiently, 2),
            (self._pause, 6),
            (self._pause_beyond_lease, 3),
        ]
        self._database_faults: list[tuple[Fault, int]] = [
            (self._restart_database, 3),
            (self._freeze_database, 2),
            (self._terminate_backends, 4),
        ]
        self._valkey_faults: list[tuple[Fault, int]] = []
        if cluster.valkey:
            self._valkey_faults = [
                (self._kill_valkey, 3),
                (self._restart_valkey, 2),
                (self._pause_valkey, 4),
                (self._flush_valkey, 4),
            ]
        self._is_dark = False
        self._database_free = asyncio.Lock()
        self._valkey_free = asyncio.Lock()

    async def run(self, seconds: float) -> None:
        """Break things for so long; return when all of them are whole again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        # First and alone what takes longest to be seen.
        await self._pause_beyond_lease()
        if self._outage > _DARK_SECONDS:
            await self._stop_database(self._outage)
        async with asyncio.TaskGroup() as group:
            spares_database, mood_ends = False, 0.0
            while True:
                await asyncio.sleep(self._rng.expovariate(1 / self._pace))
                if loop.time() > deadline:
                    break
                if self._is_dark:
                    continue
                if loop.time() > mood_ends:
                    # Where its database keeps breaking, a worker takes nobody for dead: that must have its time, too.
                    spares_database = mood_ends > 0 and not spares_database
                    mood_ends = loop.time() + self._lease * self._rng.uniform(2, 4)
                faults = self._worker_faults + self._valkey_faults
                faults += [] if spares_database else self._database_faults
                fault, weights = zip(*faults, strict=True)
                group.create_task(self._rng.choices(fault, weights)[0]())

    def _note(self, name: str, target: str, seconds: float = 0.0) -> None:
        self._history.write("fault", name=name, target=target, seconds=round(seconds, 2))

    def _worker(self) -> Worker | None:
        """Return one that nothing else is done to; seldom the last that is left alone."""
        free = [worker for worker in self._cluster.workers if worker not in self._busy]
        if not free or (len(free) == 1 and self._rng.random() < 0.7):
            return None
        return self._rng.choice(free)

    async def _to_worker(self, name: str, seconds: float, do: Callable[[Worker], Awaitable[Any]]) -> None:
        worker = self._worker()
        if worker is None:
            return
        self._busy.add(worker)
        try:
            self._note(name, worker.name, seconds)
            await do(worker)
        finally:
            self._busy.discard(worker)

    async def _kill(self) -> None:
        seconds = self._rng.uniform(0, 3)

        async def kill(worker: Worker) -> None:
            await worker.end(signal.SIGKILL)
            await asyncio.sleep(seconds)
            await worker.start()

        await self._to_worker("kill", seconds, kill)

    async def _terminate(self) -> None:
        async def terminate(worker: Worker) -> None:
            if not await worker.end(signal.SIGTERM):
                self._note("would not end", worker.name)
            await worker.start()

        await self._to_worker("terminate", 0, terminate)

    async def _terminate_impatiently(self) -> None:
        seconds = self._rng.uniform(0, 4)

        async def terminate(worker: Worker) -> None:
            worker.signal(signal.SIGTERM)
            await asyncio.sleep(seconds)
            await worker.end(signal.SIGKILL)
            await worker.start()

        await self._to_worker("terminate, then kill", seconds, terminate)

    async def _pause(self) -> None:
        await self._pause_for(self._rng.uniform(0.2, 5))

    async def _pause_beyond_lease(self) -> None:
        await self._pause_for(self._lease * self._rng.uniform(1.4, 1.8))

    async def _pause_for(self, seconds: float) -> None:
        async def pause(worker: Worker) -> None:
            worker.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            worker.signal(signal.SIGCONT)

        await self._to_worker("pause", seconds, pause)

    async def _restart_database(self) -> None:
        if not self._database_free.locked():
            await self._stop_database(self._rng.uniform(0, self._outage))

    async def _stop_database(self, seconds: float) -> None:
        async with self._database_free:
            name, number = self._rng.choice([("fast restart", signal.SIGINT), ("immediate restart", signal.SIGQUIT)])
            self._note(name, "database", seconds)
            self._is_dark = seconds > _DARK_SECONDS
            await self._cluster.restart_database(number, seconds)
            self._is_dark = False
            await asyncio.sleep(_UP_SECONDS)

    async def _freeze_database(self) -> None:
        if self._database_free.locked():
            return
        async with self._database_free:
            seconds = self._rng.uniform(0.3, min(self._outage, _DARK_SECONDS / 2))
            self._note("freeze", "database", seconds)
            self._cluster.signal_database(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                self._cluster.signal_database(signal.SIGCONT)
            await asyncio.sleep(_UP_SECONDS)

    async def _terminate_backends(self) -> None:
        for _round in range(self._rng.randint(1, 3)):
            share = self._rng.choice([0.3, 1.0])
            self._note("terminate backends", "database")
            await self._cluster.terminate_backends(
                lambda pids, share=share: [pid for pid in pids if self._rng.random() < share]
            )
            await asyncio.sleep(self._rng.uniform(0.2, 2))

    async def _to_valkey(self, name: str, seconds: float, begin: Callable[[], Any], end: Callable[[], Any]) -> None:
        if self._valkey_free.locked():
            return
        async with self._valkey_free:
            self._note(name, "valkey", seconds)
            await asyncio.to_thread(begin)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(end)

    async def _kill_valkey(self) -> None:
        valkey = self._cluster.valkey
        await self._to_valkey("kill", self._rng.uniform(0, 6), valkey.kill, valkey.start)

    async def _restart_valkey(self) -> None:
        valkey = self._cluster.valkey
        await self._to_valkey("restart", 0.0, valkey.stop, valkey.start)

    async def _pause_valkey(self) -> None:
        valkey = self._cluster.valkey
        await self._to_valkey("pause", self._rng.uniform(0.5, 8), valkey.pause, valkey.resume)

    async def _flush_valkey(self) -> None:
        await self._to_valkey("flush", 0.0, self._cluster.valkey.flush, lambda: None)
