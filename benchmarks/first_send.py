"""What the first send of a process costs its user, and another user who writes at the same time.

    python -m benchmarks.first_send [--rounds 3] [--after 0,5] [--databases sqlite,postgres] [--providers demo,openai,…]
        [--against ../old]

Each round starts a server in a process of its own, and sends the first message so many seconds after it listens. Meanwhile
a second user renames a conversation again and again, until the first token is here. --against measures another checkout of
this repository in the same rounds, with the same interpreter. Medians of the rounds; "slowest" is the slowest rename.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.postgres import Postgres
from tests.provider_server import ProviderServer

from .measures import machine, milliseconds, table
from .sites import DURABLE, ROOT

_LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
_SECONDS = 60
_CSRF = "a" * 32
_PROVIDERS = {
    "demo": ("streaming_chat.providers.demo.DemoProvider", {}),
    "openai": ("streaming_chat.providers.openai.OpenAIProvider", {"api_key": "x", "base_url": "{url}/v1"}),
    "anthropic": ("streaming_chat.providers.anthropic.AnthropicProvider", {"api_key": "x", "base_url": "{url}"}),
    "own": ("own_provider.OwnProvider", {"api_key": "x", "base_url": "{url}"}),
}
# A site's own provider, whose module imports an SDK as most modules do: at its top.
_OWN = """
import anthropic
from streaming_chat.providers.anthropic import AnthropicProvider
class OwnProvider(AnthropicProvider):
    pass
"""
# Prints the sessions of two users, and a conversation of the second.
_SET_UP = """
import json, django
django.setup()
from benchmarks.users import make
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from streaming_chat.accounts.owners import request_key
from streaming_chat.models import Conversation
sessions = make(2)
request = HttpRequest()
request.user = get_user_model().objects.get(username="user1")
conversation = Conversation.objects.create(owner=request.user, owner_key=request_key(request), title="Mine")
print(json.dumps([*sessions, str(conversation.pk)]))
"""


class Figures(NamedTuple):
    """One first send, in seconds: to the head of the response, the first event and the first token; the slowest write."""

    head: float
    first_event: float
    first_token: float
    slowest_write: float


def main(words: Sequence[str]) -> None:
    """Measure each combination, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--after", default="0,5")
    arguments.add_argument("--databases", default="sqlite,postgres")
    arguments.add_argument("--providers", default=",".join(_PROVIDERS))
    arguments.add_argument("--against", type=Path)
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    trees = [ROOT, *([options.against.resolve()] if options.against else [])]
    rows = []
    with ProviderServer() as provider:
        for database in options.databases.split(","):
            with _database(database) as environment:
                for name in options.providers.split(","):
                    for after in map(float, options.after.split(",")):
                        rows += _measure(trees, {**environment, **_settings(name, provider)}, after, options.rounds)
                        for row in rows[-len(trees) :]:
                            row[1:1] = [database, name, f"{after:g}"]
                            print(*row, flush=True)
    heads = ["checkout", "database", "provider", "sent after, s", "head, ms", "first event, ms", "first token, ms"]
    print(table([*heads, "another user's slowest write, ms"], rows))


def _measure(trees: Sequence[Path], environment: dict[str, str], after: float, rounds: int) -> list[list[Any]]:
    """Return a row for each tree."""
    found: dict[Path, list[Figures]] = {tree: [] for tree in trees}
    for number in range(rounds):
        # Which of two comes first changes, since the second one finds the machine warmer.
        for tree in trees if number % 2 == 0 else trees[::-1]:
            found[tree].append(_first_send(tree, environment, after))
    return [
        [tree.name, *(milliseconds(median(column)) for column in zip(*figures, strict=True))]
        for tree, figures in found.items()
    ]


def _first_send(tree: Path, environment: dict[str, str], after: float) -> Figures:
    """Return the figures of one server's first send. Its database is new."""
    with tempfile.TemporaryDirectory(prefix="streaming_chat_benchmark_", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "own_provider.py").write_text(_OWN)
        environment = {**os.environ, **environment, "PYTHONPATH": folder, "BENCH_NAME": "benchmark"}
        environment["BENCH_DATABASE"] = f"{folder}/db.sqlite3"
        if "DATABASE_URL" in environment:
            environment["DATABASE_URL"] = _new_database(environment["DATABASE_URL"])
        command = [sys.executable, "-c", _SET_UP]
        made = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        sender, writer, conversation = json.loads(made.stdout)
        with _server(tree, environment, Path(folder) / "log") as port:
            time.sleep(after)
            return _send(port, sender, writer, conversation)


def _send(port: int, sender: str, writer: str, conversation: str) -> Figures:
    has_token = threading.Event()
    writes: list[float] = []

    def write() -> None:
        while not has_token.is_set():
            began = time.monotonic()
            path = f"/chat/api/conversations/{conversation}"
            _request(port, "PATCH", path, {"title": str(len(writes))}, writer).read()
            writes.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    began = time.monotonic()
    thread.start()
    try:
        response = _request(port, "POST", "/chat/api/messages", {"content": "Hello?"}, sender)
        head = time.monotonic() - began
        times = [time.monotonic() - began for _frame in _frames(response)]
    finally:
        has_token.set()
        thread.join()
    return Figures(head, times[0], times[-1], max(writes))


def _request(port: int, method: str, path: str, body: Any, session: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    cookie = f"sessionid={session}; csrftoken={_CSRF}"
    headers = {"Cookie": cookie, "X-CSRFToken": _CSRF, "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{method} {path} was answered with {response.status}: {response.read()!r}")
    return response


def _frames(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Return the frames of a stream up to the first that has text."""
    frame = b""
    while line := response.readline():
        frame += line
        if line == b"\n" and frame.strip():
            yield frame
            if b'"text":""' not in frame.replace(b" ", b"") and b'"text"' in frame:
                return
            frame = b""
    raise RuntimeError("the stream ended without text.")


def _settings(name: str, provider: ProviderServer) -> dict[str, str]:
    backend, options = _PROVIDERS[name]
    options = {key: value.format(url=provider.url) for key, value in options.items()}
    settings = {
        "STREAMING_CHAT_PROVIDERS": {name: {"BACKEND": backend, "OPTIONS": options}},
        "STREAMING_CHAT_MODELS": [f"{name}:any"],
    }
    return {
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "BENCH_SETTINGS": json.dumps(settings),
        "BENCH_PROVIDER": provider.openai_url,
    }


@contextlib.contextmanager
def _database(name: str) -> Iterator[dict[str, str]]:
    if name == "sqlite":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="streaming_chat_benchmark_", ignore_cleanup_errors=True) as folder:
        postgres = Postgres(Path(folder), **DURABLE)
        postgres.start()
        try:
            yield {"DATABASE_URL": postgres.url}
        finally:
            postgres.stop()


def _new_database(url: str) -> str:
    import psycopg

    name = f"first_send_{time.monotonic_ns()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]  # a name of ours
    return f"{url.rpartition('/')[0]}/{name}"


@contextlib.contextmanager
def _server(tree: Path, environment: dict[str, str], log: Path) -> Iterator[int]:
    """Start uvicorn in this checkout, and return its port as soon as it listens."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.asgi:application", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=tree, env=environment, stdout=output, stderr=output)
    try:
        while not (listening := _LISTENING.search(log.read_text())):
            if process.poll() is not None:
                raise RuntimeError(f"a server ended:\n{log.read_text()}")
            time.sleep(0.01)
        yield int(listening[1])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
