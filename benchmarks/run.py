"""Measure what a streamed token and a request cost, beside peers, on one mock provider and one load client.

  python benchmarks/run.py [--runs 3] [--peers raw_aiohttp,express_openai,dj_naive_orm] [--yardstick DIR] [--against DIR]

The yardstick (bench.py, mock.c, load.c and the peers' servers) is looked for in ../shared/bench, or where --yardstick
says. Needs gcc, and Node with npm for express_openai. Each run measures every server once, one after the other, so that
a slow minute of the machine falls on all of them; the table has medians. --against names another checkout of this
repository, such as a worktree of an older commit: it is measured in the same runs, with the same interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORT = 9210
MOCK = "http://127.0.0.1:9100"
SCENARIOS = "s100,short"
OURS = {
    "native send": ("/chat/api/messages", {"content": "Explain closures in JavaScript, with two examples."}),
    "api/chat": (
        "/chat/api/chat",
        {"messages": [{"role": "user", "content": "Explain closures in JavaScript, with two examples."}]},
    ),
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
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--peers", default="raw_aiohttp,express_openai,dj_naive_orm")
    arguments.add_argument("--yardstick", type=Path, default=ROOT.parent / "shared" / "bench")
    arguments.add_argument("--against", type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="streaming_chat_bench") as folder:
        bench = Bench(Path(folder), options.yardstick)
        bench.prepare_peers(options.peers)
        sites = [Site(bench, ROOT, "")]
        if options.against:
            sites.append(Site(bench, options.against.resolve(), f" ({options.against.name})"))
        for run in range(options.runs):
            print(f"run {run + 1} of {options.runs}", flush=True)
            bench.measure_peers(options.peers)
            for name in OURS:
                # Which of two trees comes first changes, since the second one finds the machine warmer.
                for site in sites if run % 2 == 0 else reversed(sites):
                    site.measure(name)
        print(bench.table())


class Bench:
    """One comparison, in a folder of its own."""

    def __init__(self, folder: Path, yardstick: Path) -> None:
        self.folder = folder
        self.yardstick = folder / "yardstick"
        shutil.copytree(yardstick, self.yardstick, copy_function=shutil.copyfile)
        for path in [self.yardstick, *self.yardstick.rglob("*")]:
            path.chmod(0o755)
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
        """Return the medians as a Markdown table."""
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for line in self.results.read_text().splitlines():
            result = json.loads(line)
            found.setdefault((result["server"], result["scenario"]), []).append(result)
        rows = []
        for server in dict.fromkeys(server for server, _scenario in found):
            streams, short = found[server, "s100"], found[server, "short"]
            request = statistics.median(result["cpu_s"] * 1e6 / result["ok"] for result in short)
            token = statistics.median(result["cpu_us_tok"] for result in streams)
            marginal = token - request / 150
            first = statistics.median(result["ttft_p50"] for result in streams) / 1000
            failed = sum(result["bad"] + result["unfinished"] for result in streams + short)
            rows.append((server, marginal, request / 1000, first, failed))
        base = next((row[1] for row in rows if row[0] == "raw_aiohttp"), float("nan"))
        lines = [
            "| server | marginal CPU a token, µs | × raw_aiohttp | CPU a request, ms | first token, median ms | failed |",
            "|---|---|---|---|---|---|",
        ]
        lines += [f"| {s} | {m:.1f} | {m / base:.2f} | {r:.2f} | {t:.1f} | {f} |" for s, m, r, t, f in rows]
        return "\n".join(lines)


class Site:
    """One checkout of this repository, with a database and a signed-in user. suffix: of its names in the table."""

    def __init__(self, bench: Bench, root: Path, suffix: str) -> None:
        self.bench = bench
        self.root = root
        self.suffix = suffix
        database = bench.folder / f"site{suffix}.sqlite3"
        self.environment = {**bench.environment, "BENCH_DATABASE": str(database), "BENCH_PROVIDER": f"{MOCK}/v1"}
        self._django("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        self.session = self._django(SIGN_IN).strip()

    def measure(self, name: str) -> None:
        """Measure one of our addresses once, served as the peers are."""
        path, body = OURS[name]
        file = self.bench.folder / "ours.json"
        file.write_text(json.dumps(body))
        token = "a" * 32
        command = [sys.executable, "-m", "uvicorn", "benchmarks.asgi:application"]
        command += ["--host", "127.0.0.1", "--port", str(PORT), "--log-level", "warning", "--no-access-log"]
        command += ["--backlog", "4096", "--lifespan", "off"]
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

    def _django(self, program: str) -> str:
        setup = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'benchmarks.settings'; django.setup()"
        command = [sys.executable, "-c", f"{setup}\n{program}"]
        run = subprocess.run(
            command, cwd=self.root, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return run.stdout


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
