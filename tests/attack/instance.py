"""A live instance of the example site: PostgreSQL, a provider, and uvicorn processes as the README starts them.

Visitors may chat, with the default quota. The servers may run another checkout of this repository.
"""

from __future__ import annotations

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg

from tests.postgres import Postgres

from .provider import REPLIES

ROOT = Path(__file__).resolve().parent.parent.parent
_LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
_START_SECONDS = 60
# What a server may reserve, so that an attack which takes all memory ends the server and not the machine.
_ADDRESS_SPACE = 6 << 30
HEARTBEAT_SECONDS = 3
MAX_READERS = 300
_SET_UP = Path(__file__).with_name("set_up.py")


class Site(NamedTuple):
    """What an attack has to know. sessions: their keys, by name. grown: the id of a long conversation."""

    ports: list[int]
    sessions: dict[str, str]
    grown: str
    database: str


class Server:
    """One uvicorn process."""

    def __init__(self, checkout: Path, environment: dict[str, str], log: Path) -> None:
        command = [sys.executable, "-m", "uvicorn", "chatproject.asgi:application", "--port", "0"]
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=output, stderr=output)
        resource.prlimit(self.process.pid, resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        self.port = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def wait_until_ready(self) -> None:
        """Return once it listens. Raises RuntimeError with its log if it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while not (found := _LISTENING.search(self._log.read_text(errors="replace"))):
            if not self.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"a server did not start:\n{self._log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        self.port = int(found[1])

    def end(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Instance:
    """Everything, as long as the block lasts. checkout: whose code the servers run. users: those with a session, who are
    visitors if their name says so.
    """

    def __init__(self, checkout: Path, users: Sequence[str], processes: int = 2) -> None:
        self._checkout = checkout.resolve()
        self._users = users
        self._processes = processes
        self._stack = contextlib.ExitStack()
        self.servers: list[Server] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="streaming_chat_attack_", ignore_cleanup_errors=True)
            )
            self._folder = Path(folder)
            # PostgreSQL may run as another user.
            self._folder.chmod(0o755)
            (self._folder / "postgres").mkdir()
            self.postgres = Postgres(self._folder / "postgres", fsync="on", synchronous_commit="on")
            stack.callback(self.postgres.stop)
            self.postgres.start()
            provider = subprocess.Popen(
                [sys.executable, "-m", "tests.attack.provider"], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            stack.callback(_end, provider)
            self._environment = self._make_environment(int(provider.stdout.readline()) if provider.stdout else 0)
            made = self._set_up()
            self._sessions, self._grown = made["sessions"], made["grown"]
            stack.callback(self.stop_servers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    @property
    def site(self) -> Site:
        """What an attack has to know."""
        return Site([server.port for server in self.servers], self._sessions, self._grown, self._url("attacked"))

    def restart_servers(self) -> None:
        """Start fresh processes on a fresh database, so that no attack is measured with what the one before has left."""
        self.stop_servers()
        self._copy_database()
        self.servers = [
            Server(self._checkout, self._environment, self._folder / f"server{number}.log")
            for number in range(self._processes)
        ]
        for server in self.servers:
            server.wait_until_ready()

    def stop_servers(self) -> None:
        """End the processes at once."""
        for server in self.servers:
            server.end()

    def _copy_database(self) -> None:
        with psycopg.connect(self._url("template1"), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS attacked WITH (FORCE)")
            connection.execute("CREATE DATABASE attacked TEMPLATE postgres")

    def _url(self, database: str) -> str:
        return f"{self.postgres.url.rpartition('/')[0]}/{database}"

    def _make_environment(self, provider_port: int) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return {
            **environment,
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
            "DATABASE_URL": self._url("attacked"),
            "INSECURE_HTTP": "true",
            "SECRET_KEY": "for the attacks only",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{provider_port}/v1",
            "STREAMING_CHAT_ALLOW_ANONYMOUS": "true",
            "STREAMING_CHAT_MODELS": ",".join(f"openai:{model}" for model in REPLIES),
            "STREAMING_CHAT_MAX_READERS": str(MAX_READERS),
            "STREAMING_CHAT_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        }

    def _set_up(self) -> dict[str, Any]:
        made = subprocess.run(
            [sys.executable, "-", *self._users],
            input=_SET_UP.read_text(),
            cwd=self._checkout,
            env={**self._environment, "DATABASE_URL": self.postgres.url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        # As it is a minute later in a real database, by itself.
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        found: dict[str, Any] = json.loads(made.stdout)
        if not Path(found["code"]).is_relative_to(self._checkout):
            raise RuntimeError(f"the code of {self._checkout} was to run, not that in {found['code']}.")
        return found


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(20)
    if process.stdout is not None:
        process.stdout.close()
