"""What an export costs: seconds and peak memory of `exporttranscripts`, beside django-import-export where it is installed.

    python -m benchmarks.exports [--messages 200000] [--databases sqlite,postgres,pgbouncer]

Each row is a process of its own; its peak is the kernel's (ru_maxrss), interpreter and Django included. "nothing" is a
command that only starts. pgbouncer is in transaction mode; it needs the program on PATH.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import django

from tests.postgres import Postgres

from .measures import machine, table

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
_MESSAGES_OF_ONE = 5
_MANAGE = [sys.executable, "-m", "django"]
# As its documentation has it: a resource of all fields, exported at once, which is what its own admin and command do.
_PEER = """
import sys, django
django.setup()
from import_export import resources
from streaming_chat.models import Message
class MessageResource(resources.ModelResource):
    class Meta:
        model = Message
        chunk_size = 1_000
data = MessageResource().export(Message.objects.order_by("pk"))
with open(sys.argv[1], "w") as file:
    file.write(getattr(data, sys.argv[2]))
"""

# A child's peak begins with its parent's memory of then: so the parent is a small one.
_SPAWN = """
import json, os, sys, time
began = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_pid, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - began
print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


def main(words: Sequence[str]) -> None:
    """Measure each database, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--messages", type=int, default=200_000)
    arguments.add_argument("--databases", default="sqlite,postgres,pgbouncer")
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(prefix="streaming_chat_exports_") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for database, url in _databases(options.databases.split(","), folder, stack, options.messages):
            for label, command, output in _commands(folder):
                seconds, cpu, megabytes, status = _measure(command, url)
                size = output.stat().st_size / 1e6 if output and output.exists() else 0
                failed = f" (exit status {status})" if status else ""
                rows.append(
                    [database, label + failed, f"{seconds:.1f}", f"{cpu:.1f}", f"{megabytes:.1f}", f"{size:.0f}"]
                )
                print(rows[-1], flush=True)
                if output:
                    output.unlink(missing_ok=True)
    print(table(["database", "command", "seconds", "CPU seconds", "peak memory, MiB", "file, MB"], rows))


def _databases(
    wanted: Sequence[str], folder: Path, stack: contextlib.ExitStack, messages: int
) -> Iterator[tuple[str, str]]:
    if "sqlite" in wanted:
        yield "SQLite", _filled(f"sqlite:///{folder}/db.sqlite3", messages)
    if {"postgres", "pgbouncer"} & set(wanted):
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streaming_chat_postgres_")))
        server = Postgres(place)
        server.start()
        stack.callback(server.stop)
        _filled(server.url, messages)
        if "postgres" in wanted:
            yield "PostgreSQL", server.url
        if "pgbouncer" in wanted:
            # The tests' own servers ask for settings when they are imported.
            django.setup()
            from tests.pgbouncer import PgBouncer

            yield "PostgreSQL behind pgbouncer", stack.enter_context(PgBouncer(server.port)).url


def _filled(url: str, messages: int) -> str:
    _measure([*_MANAGE, "migrate", "-v", "0"], url)
    _measure([*_MANAGE, "seedtranscripts", "--conversations", str(messages // _MESSAGES_OF_ONE)], url)
    return url


def _commands(folder: Path) -> Iterator[tuple[str, list[str], Path | None]]:
    yield "nothing", [*_MANAGE, "exporttranscripts", "--until", "1970-01-01", "--output", "-"], None
    for form in ("jsonl", "csv"):
        output = folder / f"out.{form}"
        yield (
            f"exporttranscripts, {form}",
            [*_MANAGE, "exporttranscripts", f"--format={form}", f"--output={output}"],
            output,
        )
    if find_spec("import_export"):
        for form in ("json", "csv"):
            output = folder / f"peer.{form}"
            yield f"django-import-export, {form}", [sys.executable, "-c", _PEER, str(output), form], output


def _measure(command: list[str], url: str) -> tuple[float, float, float, int]:
    """Return its seconds, those of its CPU, its peak memory in MiB, and its exit status."""
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": _path()}
    done = subprocess.run(
        [sys.executable, "-S", "-c", _SPAWN, *command], env=environment, stdout=subprocess.PIPE, check=True
    )
    seconds, cpu, kilobytes, status = json.loads(done.stdout)
    return seconds, cpu, kilobytes / 1024, status


def _path() -> str:
    return os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    main(sys.argv[1:])
