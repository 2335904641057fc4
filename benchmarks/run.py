"""Measure what a streamed token and a request cost, beside peers, on one mock provider and one load client.

  python -m benchmarks.run [--runs 5] [--peers raw_aiohttp,express_openai,dj_naive_orm] [--yardstick DIR] [--against DIR]
      [--sends "native send,api/chat,50 messages"] [--database sqlite|postgres] [--workers 2]

The yardstick (bench.py, mock.c, load.c and the peers' servers) is looked for in ../shared/bench, or where --yardstick
says. Needs gcc, and Node with npm for express_openai. Each run measures every server once, one after the other, so that
a slow minute of the machine falls on all of them; the table has medians. --against names another checkout of this
repository, such as a worktree of an older commit: it is measured in the same runs, with the same interpreter. --database
and --workers are ours: the peers have one process, and save to SQLite or nothing. PostgreSQL is durable as in production.
"50 messages" is a native send into a conversation of 50 messages, each into another one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks"
PORT = 9210
MOCK = "http://127.0.0.1:9100"
SCENARIOS = "s100,short"
# As many as the warm-up and both scenarios send.
POOL = 60 + 100 + 1000
LONG = "50 messages"
_TEXT = "Explain closures in JavaScript, with two examples."
OURS = {
    "native send": ("/chat/api/messages", {"content": _TEXT}),
    "api/chat": ("/chat/api/chat", {"messages": [{"role": "user", "content": _TEXT}]}),
    LONG: ("/pool", {"content": _TEXT}),
}
SIGN_IN = """
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
user = get_user_model().objects.create_user("bench")
request = HttpRequest()
request.session = SessionStore()
login(request, user, backend="django.contrib.auth.backends.ModelBackend")
request.session.save()
print(request.session.session_key)
"""


def main() -> None:
    """Run it all and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--peers", default="raw_aiohttp,express_openai,dj_naive_orm")
    arguments.add_argument("--sends", default=",".join(OURS))
    arguments.add_argument("--yardstick", type=Path, default=ROOT.parent / "shared" / "bench")
    arguments.add_argument("--against", type=Path)
    arguments.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    arguments.add_argument("--workers", type=int, default=1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="streaming_chat_bench", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with _databases(options.database, folder) as databases:
            bench = Bench(folder, options.yardstick, options.workers)
            bench.prepare_peers(options.peers)
            sites = [Site(bench, ROOT, "", next(databases))]
            if options.against:
                sites.append(Site(bench, options.against.resolve(), f" ({options.against.name})", next(databases)))
            for run in range(options.runs):
                print(f"run {run + 1} of {options.runs}, load average {os.getloadavg()[0]:.2f}", flush=True)
                bench.measure_peers(options.peers)
                for send in options.sends.split(","):
                    # Which of two trees comes first changes, since the second one finds the machine warmer.
                    for site in sites if run % 2 == 0 else reversed(sites):
                        site.measure(send)
            print(bench.table())


class Row(NamedTuple):
    """The medians of one server. token: in µs. request, first: in ms."""

    server: str
    token: float
    request: float
    first: float
    failed: int


class Target(NamedTuple):
    """How many times a peer's figure ours may be, by a name of `Row`'s."""

    name: str
    peer: str
    limit: float


TARGETS = (
    Target("token", "raw_aiohttp", 1.3),
    Target("request", "express_openai", 1.6),
    Target("first", "express_openai", 3.0),
)


class Bench:
    """One comparison, in a folder of its own. workers: processes of each of our servers."""

    def __init__(self, folder: Path, yardstick: Path, workers: int) -> None:
        self.folder = folder
        self.workers = workers
        self.yardstick = folder / "yardstick"
        shutil.copytree(yardstick, self.yardstick, copy_function=shutil.copyfile)
        for path in [self.yardstick, *self.yardstick.rglob("*")]:
            path.chmod(0o755)
        shutil.copyfile(HERE / "conversation_pool.py", folder / "conversation_pool.py")
        self.results = folder / "results.jsonl"
        self.environment = {**os.environ, "BENCH_DIR": str(folder), "PERF_PY": sys.executable}

    def prepare_peers(self, peers: str) -> None:
        """Install what the peers need."""
        if "express" in peers:
            servers = self.yardstick / "servers"
            subprocess.run(["npm", "install", "--silent", "openai@6", "express@5"], cwd=servers, check=True)

    def measure_peers(self, peers: str) -> None:
        """Measure the yardstick's own servers once."""
        if peers:
            self.measure(["--servers", peers])

    def measure(self, flags: list[str], name: str = "") -> None:
        """Run the yardstick once. name: of the server in the table, where it is not the yardstick's."""
        out = self.folder / "one.jsonl"
        out.unlink(missing_ok=True)
        command = [sys.executable, str(self.yardstick / "bench.py"), "--scenarios", SCENARIOS, "--out", str(out)]
        subprocess.run([*command, *flags], env=self.environment, check=True)
        with self.results.open("a") as results:
            for line in out.read_text().splitlines():
                result = json.loads(line)
                results.write(json.dumps({**result, "server": name or result["server"]}) + "\n")

    def table(self) -> str:
        """Return the medians as a Markdown table, and whether ours meet their targets."""
        rows = self._rows()
        figures = {row.server: row for row in rows}
        heads = ["server", "marginal CPU a token, µs", "× raw_aiohttp", "CPU a request, ms", "× express_openai"]
        heads += ["first token of 100 at once, median ms", "× express_openai", "failed"]
        lines = [heads, ["---"] * len(heads)]
        for row in rows:
            token, request, first = (_times(row, target, figures) for target in TARGETS)
            lines.append([row.server, f"{row.token:.1f}", f"{token:.2f}", f"{row.request:.2f}", f"{request:.2f}"])
            lines[-1] += [f"{row.first:.1f}", f"{first:.2f}", str(row.failed)]
        verdicts = [_verdict(row, figures) for row in rows if row.server.startswith(tuple(OURS))]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *verdicts])

    def _rows(self) -> list[Row]:
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for line in self.results.read_text().splitlines():
            result = json.loads(line)
            found.setdefault((result["server"], result["scenario"]), []).append(result)
        rows = []
        for server in dict.fromkeys(server for server, _scenario in found):
            streams, short = found[server, "s100"], found[server, "short"]
            request = statistics.median(result["cpu_s"] * 1e6 / result["ok"] for result in short)
            token = statistics.median(result["cpu_us_tok"] for result in streams) - request / 150
            first = statistics.median(result["ttft_p50"] for result in streams) / 1000
            failed = sum(result["bad"] + result["unfinished"] for result in streams + short)
            rows.append(Row(server, token, request / 1000, first, int(failed)))
        return rows


def _times(row: Row, target: Target, figures: dict[str, Row]) -> float:
    """Return how many times the peer's figure a server's is; NaN if the peer was not measured."""
    peer = figures.get(target.peer)
    return getattr(row, target.name) / getattr(peer, target.name) if peer else float("nan")


def _verdict(row: Row, figures: dict[str, Row]) -> str:
    words = []
    for target in TARGETS:
        times = _times(row, target, figures)
        verdict = "not measured" if math.isnan(times) else "met" if times <= target.limit else "MISSED"
        words.append(f"{target.name} at most {target.limit:g} × {target.peer}: {verdict}")
    return f"- {row.server}: {', '.join(words)}."


class Site:
    """One checkout of this repository, with a database and a signed-in user.

    suffix: of its names in the table. database: the environment that names it.
    """

    def __init__(self, bench: Bench, root: Path, suffix: str, database: dict[str, str]) -> None:
        self.bench = bench
        self.root = root
        self.suffix = suffix
        self.environment = {**bench.environment, **database, "BENCH_PROVIDER": f"{MOCK}/v1", "BENCH_NAME": "bench"}
        self._django("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        self.session = self._django(SIGN_IN).strip()

    def measure(self, name: str) -> None:
        """Measure one of our addresses once, served as the peers are."""
        path, body = OURS[name]
        file = self.bench.folder / "ours.json"
        file.write_text(json.dumps(body))
        token = "a" * 32
        application = self._make_pool() if name == LONG else "benchmarks.asgi:application"
        command = [sys.executable, "-m", "uvicorn", application, "--app-dir", str(self.bench.folder)]
        command += ["--host", "127.0.0.1", "--port", str(PORT), "--log-level", "warning", "--no-access-log"]
        command += ["--backlog", "4096", "--lifespan", "off", "--workers", str(self.bench.workers)]
        server = subprocess.Popen(command, cwd=self.root, env=self.environment)
        try:
            _wait_for_port(server)
            headers = [f"Cookie: sessionid={self.session}; csrftoken={token}", f"X-CSRFToken: {token}"]
            flags = [flag for header in headers for flag in ("-H", header)]
            url = ["--base-url", f"http://127.0.0.1:{PORT}", "--path", path, "--body", str(file)]
            self.bench.measure([*url, "--pid", str(server.pid), *flags], name + self.suffix)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)

    def _make_pool(self) -> str:
        """Make conversations for one measurement; return the application that sends into them."""
        pool = self.bench.folder / "pool"
        pool.write_text(self._django((HERE / "histories.py").read_text(), str(POOL), "50"))
        pool.with_suffix(".taken").unlink(missing_ok=True)
        self.environment["BENCH_POOL"] = str(pool)
        return "conversation_pool:application"

    def _django(self, program: str, *arguments: str) -> str:
        """Return what a program prints in this checkout, which may be older than the program."""
        setup = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'benchmarks.settings'; django.setup()"
        command = [sys.executable, "-c", f"{setup}\n{program}", *arguments]
        run = subprocess.run(
            command, cwd=self.root, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return run.stdout


@contextlib.contextmanager
def _databases(kind: str, folder: Path) -> Iterator[Iterator[dict[str, str]]]:
    """Give the environments of new databases."""
    if kind == "sqlite":
        yield ({"BENCH_DATABASE": str(folder / f"site{number}.sqlite3")} for number in range(2))
        return
    # Only here, so that SQLite needs neither PostgreSQL nor its driver.
    import psycopg

    from tests.postgres import Postgres

    from .sites import DURABLE

    (folder / "postgres").mkdir()
    postgres = Postgres(folder / "postgres", **DURABLE)
    try:
        postgres.start()
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            for name in ("site0", "site1"):
                connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]  # a name of ours
        yield ({"DATABASE_URL": f"{postgres.url.rpartition('/')[0]}/site{number}"} for number in range(2))
    finally:
        postgres.stop()


def _wait_for_port(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}.")
        try:
            socket.create_connection(("127.0.0.1", PORT), 0.3).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing listens on port {PORT}.")


if __name__ == "__main__":
    main()
