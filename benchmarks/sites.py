"""A whole site for one measurement: a database, Valkey where it is the notifier, a provider, users, and uvicorn processes.

PostgreSQL is durable as in production (fsync and full page writes on), which the tests' own is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.postgres import Postgres
from tests.valkey import Valkey

from .clients import answer, until
from .users import SESSION

ROOT = Path(__file__).resolve().parent.parent
NOTIFIERS = ("redis", "notify", "polling")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
_START_SECONDS = 60


class Server:
    """uvicorn, in a process of its own or several. name: of its connections in PostgreSQL."""

    def __init__(self, environment: dict[str, str], log: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "uvicorn", "benchmarks.asgi:application", "--port", "0", "--lifespan", "off"]
        command += ["--no-access-log", "--backlog", "4096", *arguments]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        self.port = 0

    @property
    def pid(self) -> int:
        """Its process, the parent of several."""
        return self.process.pid

    async def ready(self) -> Self:
        """Return once it answers. Raises RuntimeError with its log when it does not."""
        if not await until(self._has_started, _START_SECONDS):
            raise RuntimeError(f"a server did not start:\n{self.log.read_text()}")
        # Several processes print their address before one of them listens.
        while True:
            with contextlib.suppress(OSError):
                await answer(self.port, "GET", "/chat/api/models", session=SESSION)
                return self
            await asyncio.sleep(0.1)

    def end(self, number: int = signal.SIGKILL) -> float:
        """Send it a signal and wait until it is gone; return how many seconds that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(60)
        seconds = time.monotonic() - began
        # Those that several processes leave when the first of them is killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return seconds

    def _has_started(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"a server ended:\n{self.log.read_text()}")
        if found := _LISTENING.search(self.log.read_text()):
            self.port = int(found[1])
        return bool(self.port)


class Site:
    """Everything but the servers, which `serve` adds; all of it ends with the block.

    notifier: how processes learn of each other's replies. users: how many are signed in. database: "postgres" or
    "sqlite". settings: in addition to those of benchmarks/settings.py.
    """

    def __init__(
        self, notifier: str = "polling", users: int = 1, *, database: str = "postgres", **settings: Any
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._notifier = notifier
        self._users = users
        self._database = database
        self._settings = settings
        self.valkey: Valkey | None = None

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        raise_descriptors()
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="streaming_chat_benchmark_", ignore_cleanup_errors=True)
            )
            self._folder = Path(folder)
            self._folder.chmod(0o755)
            if self._database == "postgres":
                (self._folder / "postgres").mkdir()
                self.postgres = Postgres(self._folder / "postgres", **DURABLE)
                stack.callback(self.postgres.stop)
                self.postgres.start()
            if self._notifier == "redis":
                self.valkey = stack.enter_context(Valkey())
            self._provider = self._start_provider()
            stack.callback(_end, self._provider)
            self.sessions: list[str] = self.make("users", self._users)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    def serve(self, name: str, *arguments: str, threads: int = 0, is_traced: bool = False, **settings: Any) -> Server:
        """Start a server; see `Server.ready`.

        threads: that its requests share, 0 for the default. is_traced: as in trace.py. settings: beyond the site's.
        """
        environment = self._environment(name, settings)
        if threads:
            environment["BENCH_THREADS"] = str(threads)
        if is_traced:
            environment["BENCH_TRACE"] = "1"
        server = Server(environment, self._folder / f"{name}.log", *arguments)
        self._stack.callback(server.end)
        return server

    async def calls(self) -> dict[str, Any]:
        """Return what the provider recorded, by key; see provider.py."""
        return await answer(self.provider_port, "GET", "/calls")

    async def finish(self, seconds: float) -> None:
        """Have the provider end all replies within so many seconds."""
        await answer(self.provider_port, "POST", "/finish", seconds)

    def make(self, what: str, *counts: int) -> list[str]:
        """Return what the module of this name has made in the database: users.py or histories.py."""
        command = [sys.executable, "-m", f"benchmarks.{what}", *map(str, counts)]
        environment = self._environment(what, {})
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self.postgres.url, autocommit=True, application_name="benchmark") as connection:
            return connection.execute(sql, values).fetchall()  # type: ignore[arg-type]  # SQL of ours

    @property
    def postgres_pid(self) -> int:
        """PostgreSQL's first process, the parent of all others."""
        return int((self._folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])

    def _environment(self, name: str, settings: dict[str, Any]) -> dict[str, str]:
        named = {**self._settings, **settings}
        if self._notifier == "notify":
            options = {"listen_dsn": self.postgres.url.replace("postgres://", "postgresql://")}
            named["STREAMING_CHAT_NOTIFIER"] = {
                "BACKEND": "streaming_chat.notifiers.postgres.PostgresNotifier",
                "OPTIONS": options,
            }
        elif self.valkey:
            named["STREAMING_CHAT_NOTIFIER"] = {
                "BACKEND": "streaming_chat.notifiers.redis.RedisNotifier",
                "OPTIONS": {"url": self.valkey.url},
            }
        is_postgres = self._database == "postgres"
        return {
            **{key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
            **({"DATABASE_URL": self.postgres.url} if is_postgres else {}),
            "BENCH_DATABASE": str(self._folder / "db.sqlite3"),
            "BENCH_PROVIDER": f"http://127.0.0.1:{self.provider_port}/v1",
            "BENCH_NAME": name,
            "BENCH_SETTINGS": json.dumps(named),
        }

    def _start_provider(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.provider"]
        provider = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.provider_port = int(provider.stdout.readline()) if provider.stdout else 0
        return provider


def raise_descriptors() -> None:
    """Let this process, and those that it starts, open as many files and sockets as the system lets them."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(20)
    if process.stdout is not None:
        process.stdout.close()
