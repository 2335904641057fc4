"""The demo in a process of its own, as `make demo` starts it: for its tests, for the browser's, and for screenshots."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def demo(
    folder: str | Path, port: int = 0, *, arguments: Sequence[str] = (), **settings: str
) -> Iterator[subprocess.Popen]:
    """Start the demo with its database in this folder; end it with the block."""
    environment = _environment(folder) | {"PORT": str(port), "PYTHONUNBUFFERED": "1"} | settings
    command = [sys.executable, "-m", "chatproject.demo", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def manage(folder: str | Path, *command: str) -> None:
    """Run a management command on the database in this folder."""
    environment = _environment(folder) | {"INSECURE_HTTP": "1", "LOG_LEVEL": "WARNING"}
    manage_py = [sys.executable, "manage.py", *command]
    subprocess.run(manage_py, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def _environment(folder: str | Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": "the same at every start",
        "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
    }


def read_until_address(process: subprocess.Popen) -> tuple[str, str]:
    """Return the address that the demo prints when it is ready, and everything printed before it."""
    printed = ""
    for line in process.stdout:
        printed += line
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return found[0], printed
    raise AssertionError(f"the demo ended before it said where it is:\n{printed}{process.stderr.read()}")


def passwords_in(printed: str) -> dict[str, str]:
    """Return the passwords that the demo has printed, by user, in its order."""
    return dict(re.findall(r"^(\w+) +password (\w+)", printed, re.MULTILINE))
