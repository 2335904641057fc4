"""What another user's send costs while a site's own code is slow for one user.

    python -m benchmarks.slow_site [--seconds 3] [--duration 15] [--databases sqlite,postgres] [--against ../old]

One user sends again and again. For that user, the permissions, the prompt, the quota's plan and the context each take so
many seconds. Meanwhile a second user sends one message after the other, in turn in a new conversation and in a stored one.
The times are from the second user's request to the first event. --against: as in `first_send`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .first_send import _SET_UP, _database, _new_database, _request, _server
from .measures import machine, milliseconds, percentile, table
from .sites import ROOT

# Between two sends of a user.
_PAUSE_SECONDS = 0.1
_HOOKS = ["permissions", "prompt", "plan", "context"]
# The site's own code: slow for the first user of benchmarks/users.py.
_SITE = """
import os, time
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.quotas.database import DatabaseQuota

def pause(hook, user_id):
    if user_id == 1 and hook in os.environ["SLOW_HOOKS"].split(","):
        time.sleep(float(os.environ["SLOW_SECONDS"]))

class SitePermissions(Permissions):
    def may_send(self, request, owner, conversation):
        pause("permissions", owner.user.pk)
        return True

class SiteQuota(DatabaseQuota):
    def plan(self, request, owner_key, **tokens):
        pause("plan", request.user.pk)
        return super().plan(request, owner_key, **tokens)

def prompt(request, conversation, messages):
    pause("prompt", request.user.pk)
    return "", messages

def context(run, turns):
    pause("context", run.user_id)
"""
_SETTINGS = {
    "STREAMING_CHAT_PROVIDERS": {
        "demo": {
            "BACKEND": "streaming_chat.providers.demo.DemoProvider",
            "OPTIONS": {"words_per_second": 0},
        }
    },
    "STREAMING_CHAT_MODELS": ["demo:any"],
    "STREAMING_CHAT_PERMISSIONS": {"BACKEND": "slow_site.SitePermissions"},
    "STREAMING_CHAT_QUOTA": {"BACKEND": "slow_site.SiteQuota"},
    "STREAMING_CHAT_PROMPT": "slow_site.prompt",
    "STREAMING_CHAT_CONTEXT": "slow_site.context",
    "STREAMING_CHAT_CONTEXT_TIMEOUT_SECONDS": 60,
}


def main(words: Sequence[str]) -> None:
    """Measure each combination, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--duration", type=float, default=15.0)
    arguments.add_argument("--databases", default="sqlite,postgres")
    arguments.add_argument("--against", type=Path)
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    trees = [ROOT, *([options.against.resolve()] if options.against else [])]
    rows = []
    for database in options.databases.split(","):
        with _database(database) as environment:
            for slow in ["", ",".join(_HOOKS), *_HOOKS]:
                for tree in trees:
                    pauses = {"SLOW_HOOKS": slow, "SLOW_SECONDS": str(options.seconds)}
                    times = _other_sends(tree, {**environment, **pauses}, options.duration)
                    figures = (median(times), percentile(times, 95), max(times))
                    row = [tree.name, database, slow.replace(",", ", ") or "nothing", *map(milliseconds, figures)]
                    rows.append(row)
                    print(*row, flush=True)
    print(table(["checkout", "database", "slow", "another user's send: p50, ms", "p95, ms", "longest, ms"], rows))


def _other_sends(tree: Path, environment: dict[str, str], duration: float) -> list[float]:
    """Return the seconds of the second user's sends on a new server with a new database."""
    with tempfile.TemporaryDirectory(prefix="streaming_chat_benchmark_", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "slow_site.py").write_text(_SITE)
        environment = {**os.environ, **environment, "PYTHONPATH": folder, "BENCH_NAME": "benchmark"}
        environment |= {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "BENCH_SETTINGS": json.dumps(_SETTINGS)}
        environment |= {"BENCH_PROVIDER": "http://127.0.0.1:9", "BENCH_DATABASE": f"{folder}/db.sqlite3"}
        if "DATABASE_URL" in environment:
            environment["DATABASE_URL"] = _new_database(environment["DATABASE_URL"])
        command = [sys.executable, "-c", _SET_UP]
        made = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        slow, other, conversation = json.loads(made.stdout)
        stored = f"/chat/api/conversations/{conversation}/messages"
        with _server(tree, environment, Path(folder) / "log") as port:
            # What only the first sends of a process cost.
            for path in ["/chat/api/messages", stored] * 3:
                _send(port, path, other)
            end = time.monotonic() + duration
            times = []
            with _sending(port, slow):
                while time.monotonic() < end:
                    times.append(_send(port, ("/chat/api/messages", stored)[len(times) % 2], other))
                    time.sleep(_PAUSE_SECONDS)
            return times


@contextlib.contextmanager
def _sending(port: int, session: str) -> Iterator[None]:
    """Let a user send again and again meanwhile, and wait for the last reply."""
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            _send(port, "/chat/api/messages", session)
            time.sleep(_PAUSE_SECONDS)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _send(port: int, path: str, session: str) -> float:
    """Send, read the reply to its end, and return the seconds to the first event."""
    began = time.monotonic()
    response: Any = _request(port, "POST", path, {"content": "Hello?"}, session)
    response.readline()
    first = time.monotonic() - began
    response.read()
    return first


if __name__ == "__main__":
    main(sys.argv[1:])
