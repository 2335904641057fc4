"""What an attack costs: the servers' CPU time and memory, and how long other people's requests take meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.chaos.connection import Connection

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_SECONDS = 120.0
# Ten requests of another user a second, and four health checks of each process.
_MODELS_EVERY, _HEALTH_EVERY = 0.1, 0.25


class Watch:
    """Requests sent at their times, whatever became of those before, as long as the block lasts.

    models, health: how long each took, in seconds. wrong: answers that were not 200.
    """

    def __init__(self, ports: Sequence[int], session: str) -> None:
        self.models: list[float] = []
        self.health: list[float] = []
        self.wrong: list[str] = []
        self._ports = ports
        self._headers = {"Cookie": f"sessionid={session}"}
        self._asked: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._rounds = [
            asyncio.create_task(self._every(_MODELS_EVERY, "/chat/api/models", self.models, self._ports)),
            *(
                asyncio.create_task(self._every(_HEALTH_EVERY, "/chat/health", self.health, [port]))
                for port in self._ports
            ),
        ]
        return self

    async def __aexit__(self, *args: object) -> None:
        for task in self._rounds:
            task.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        # A request that is still unanswered counts with its time so far.
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def _every(self, seconds: float, path: str, found: list[float], ports: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while True:
            task = asyncio.create_task(self._ask(ports[number % len(ports)], path, found))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)
            number += 1
            await asyncio.sleep(began + number * seconds - loop.time())

    async def _ask(self, port: int, path: str, found: list[float]) -> None:
        began = time.monotonic()
        try:
            connection = await Connection.ask(port, "GET", path, self._headers, patience=_PATIENCE_SECONDS)
            await connection.json(_PATIENCE_SECONDS)
            connection.leave("FIN")
            if connection.status != 200:
                self.wrong.append(f"{path}: {connection.status}")
        except (OSError, TimeoutError) as error:
            self.wrong.append(f"{path}: {type(error).__name__}")
        finally:
            found.append(time.monotonic() - began)


def cpu_seconds(pid: int) -> float:
    """Return how much CPU time a process has used; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def reset_peak(pid: int) -> None:
    """Let the peak of a process's memory begin now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_megabytes(pid: int) -> float:
    """Return the peak of a process's resident memory; 0 if it is gone."""
    return _status(pid, "VmHWM")


def megabytes(pid: int) -> float:
    """Return a process's resident memory."""
    return _status(pid, "VmRSS")


def _status(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


async def until_idle(pids: Sequence[int], seconds: float) -> Any:
    """Wait until these processes do next to nothing, at most for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = sum(map(cpu_seconds, pids))
        await asyncio.sleep(1)
        # Answering the watch itself takes about a tenth of a second each second.
        if sum(map(cpu_seconds, pids)) - before < 0.3:
            return
