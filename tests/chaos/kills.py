"""Kills a worker with SIGKILL at twelve points in the life of a write, in every round, and judges what became of each call.

    python -m tests.chaos.kills --rounds 50

Twelve users send one message each in a round. The model calls one tool, and each call stops at its point (held.py). Two
points are in the thread that saves all replies, so each round has two workers that are killed, with six calls each. A
worker that lives on ends the replies, or goes on with the one that waits for a person. In the end, each conversation takes
one more message. The provider refuses a prompt with a call without a result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.provider_server import Gate, OpenAIWire, ProviderServer, Script, blocks

from .cluster import Cluster, Worker
from .connection import Connection, Frame
from .held import file_of
from .ledger import BEGUN, DONE, entries

_LEASE_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
# Rounds whose workers run at the same time.
_AT_ONCE = 2
_CSRF = "a" * 32
_WIRE = OpenAIWire()
_ROWS = """
SELECT call.status, call.runs, reply.status AS reply, reply.parts::text AS parts
FROM streaming_chat_message reply LEFT JOIN streaming_chat_toolcall call ON call.message_id = reply.id
WHERE reply.id = %s
"""


class Point(NamedTuple):
    """Where a worker is killed, and what must become of the call: its status, whether it has begun, and whether it is done.

    status: "" of a call that is not in the database, since the model had not finished it.
    """

    name: str
    status: tuple[str, ...]
    begun: int
    done: int


# The last one of each is in the thread that saves: nothing is saved any more then.
GROUPS = (
    (
        Point("call half received", ("",), 0, 0),
        Point("call received", ("",), 0, 0),
        # The call may not have been saved yet.
        Point("policy asked", ("", "cancelled"), 0, 0),
        Point("running is saved", ("unknown",), 0, 0),
        Point("begun", ("unknown",), 1, 0),
        # So may this one: that transaction would have saved it.
        Point("before running is saved", ("", "cancelled"), 0, 0),
    ),
    (
        Point("done", ("unknown",), 1, 1),
        Point("returned", ("unknown",), 1, 1),
        Point("asked again", ("ok",), 1, 1),
        Point("answer begun", ("ok",), 1, 1),
        # It waits for a person, who allows it afterwards, at another worker.
        Point("answer", ("ok",), 1, 1),
        Point("before the result is saved", ("unknown",), 1, 1),
    ),
)


class Call:
    """One call of the tool, from the message until the conversation has gone on."""

    def __init__(self, kills: Kills, number: int, point: Point, user: str) -> None:
        self.point = point
        self.name = f"{number}/{point.name}"
        self.failures: list[str] = []
        self.outcome = ""
        self._kills = kills
        self._headers = kills.headers(user)
        self._gate = Gate()
        self._connection: Connection | None = None
        kills.provider.by_text[self.name] = self._asking()
        gates = {"asked again": {0: self._gate}, "answer begun": {1: self._gate}}.get(point.name, {})
        kills.provider.by_text[f"wrote {self.name}"] = Script(["It is ", "written."], gates=gates)

    def _asking(self) -> Script:
        """Return what the model says first."""
        call = ("write", f'{{"call": "{self.name}"}}')
        written = {"call half received": 1, "call received": 2}.get(self.point.name)
        if written is None:
            return Script(["I write."], tool_calls=[call])
        head = _WIRE.opening(Script()) + _WIRE.delta("I write.")
        raw = head + b"".join(blocks(_WIRE.tool_call(0, *call))[:written])
        return Script(raw=raw, fault="stall", after=len(blocks(raw)))

    async def begin(self, worker: Worker) -> None:
        """Send, and return once the call has reached its point."""
        body = {"content": self.name, "model": "tools:any"}
        self._connection = connection = await self._post(worker, "messages", body)
        frame = await anext(connection.frames(_PATIENCE_SECONDS))
        assert frame.data is not None
        self.reply, self.conversation = frame.data["message"], frame.data["conversation"]
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not await self._is_there():  # noqa: ASYNC110  (rows and files set no event)
                await asyncio.sleep(0.05)

    async def _is_there(self) -> bool:
        name = self.point.name
        if name in ("call half received", "call received"):
            asked = [call for call in self._kills.provider.calls if call.prompt == self.name]
            return bool(asked) and asked[0].events == len(blocks(asked[0].script.raw or b""))
        if name in ("asked again", "answer begun"):
            return self._gate._reached.is_set() and (await self._rows())[0]["status"] == "ok"
        if name == "answer":
            return (await self._rows())[0]["reply"] == "waiting"
        return (self._kills.holds / file_of(self.name)).exists()

    async def finish(self, survivor: Worker) -> None:
        """Note what became of the call, and go on in its conversation."""
        assert self._connection is not None
        self._connection.leave("RST")
        self._gate.open()
        try:
            if self.point.name == "answer":
                await self._allow(survivor)
            ending = await self._read(await self._ask(survivor, "GET", f"messages/{self.reply}/events"))
            [row] = await self._rows()
            self._judge(row)
            more = await self._post(survivor, f"conversations/{self.conversation}/messages", {"content": "And now?"})
            self._expect("next message", (await self._read(more)).event, "done")
            self._expect("ending", ending.event, self._ending(row))
        except (OSError, TimeoutError, RuntimeError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")

    def _ending(self, row: dict[str, Any]) -> str:
        """Return how the reply must end: as failed if nothing of the provider was saved before its worker was killed."""
        if self.point.name == "answer":
            return "done"
        has_content = any(part["kind"] != "step" for part in json.loads(row["parts"] or "[]"))
        return "interrupted" if has_content else "failed"

    async def _allow(self, survivor: Worker) -> None:
        body = {"answers": [{"call": "call_0", "approved": True}]}
        connection = await self._post(survivor, f"messages/{self.reply}/answers", body)
        await connection.json(_PATIENCE_SECONDS)
        connection.leave("FIN")

    def _judge(self, row: dict[str, Any]) -> None:
        found = Counter(entry.what for entry in entries(self._kills.cluster.ledger) if entry.call == self.name)
        self.outcome = row["status"] or "not called"
        if (row["status"] or "") not in self.point.status:
            self._expect("status", row["status"], self.point.status)
        self._expect("begun", found[BEGUN], self.point.begun)
        self._expect("done", found[DONE], self.point.done)
        self._expect("row", bool(row["status"]), '"tool_call"' in row["parts"])
        self._expect("results", row["parts"].count('"tool_result"'), row["parts"].count('"tool_call"'))

    def _expect(self, what: str, got: Any, wanted: Any) -> None:
        if got != wanted:
            self.failures.append(f"{what}: {got!r} in place of {wanted!r}")

    async def _rows(self) -> list[dict[str, Any]]:
        return await self._kills.cluster.query(_ROWS, self.reply)

    async def _post(self, worker: Worker, path: str, body: dict[str, Any]) -> Connection:
        return await self._ask(worker, "POST", path, body)

    async def _ask(self, worker: Worker, method: str, path: str, body: Any = None) -> Connection:
        asked = Connection.ask(
            worker.port, method, f"/chat/api/{path}", self._headers, body, patience=_PATIENCE_SECONDS
        )
        connection = await asked
        if connection.status != 200:
            raise RuntimeError(f"{method} {path}: {connection.status} {await connection.json(_PATIENCE_SECONDS)}")
        return connection

    async def _read(self, connection: Connection) -> Frame:
        """Return the ending of a stream."""
        frames = [frame async for frame in connection.frames(_PATIENCE_SECONDS)]
        connection.leave("FIN")
        return frames[-2]


class Kills:
    """All rounds. holds: the folder in which a file appears for each call that has reached its point."""

    def __init__(self, folder: Path, cluster: Cluster, provider: ProviderServer) -> None:
        self.cluster = cluster
        self.provider = provider
        self.holds = folder / "holds"
        self.holds.mkdir()
        self.calls: list[Call] = []
        self._sessions: dict[str, str] = {}
        self._free = asyncio.Semaphore(_AT_ONCE)

    def headers(self, user: str) -> dict[str, str]:
        """Return the headers of a user's requests."""
        cookies = f"sessionid={self._sessions[user]}; csrftoken={_CSRF}"
        return {"Cookie": cookies, "X-CSRFToken": _CSRF, "Content-Type": "application/json"}

    async def run(self, rounds: int) -> None:
        """Run so many rounds."""
        self._sessions = await self.cluster.make_site(_AT_ONCE * len(GROUPS[0]))
        await self.cluster.start_workers()
        users = asyncio.Queue[list[str]]()
        names, size = [*self._sessions], len(GROUPS[0])
        for first in range(0, len(names), size):
            users.put_nowait(names[first : first + size])
        await asyncio.gather(*(self._kill(number, group, users) for number in range(rounds) for group in GROUPS))

    async def _kill(self, number: int, group: tuple[Point, ...], users: asyncio.Queue[list[str]]) -> None:
        """Start a worker, bring a call to each of these points, and kill it."""
        async with self._free:
            names = await users.get()
            calls = [Call(self, number, point, user) for point, user in zip(group, names, strict=True)]
            self.calls += calls
            name = f"victim{number}_{GROUPS.index(group)}"
            environment = {**self.cluster._environment, "CHAOS_HOLDS": str(self.holds), "CHAOS_THREADS": "own"}
            worker = Worker(name, environment, self.cluster.folder / f"{name}.log")
            try:
                await worker.start()
                await asyncio.gather(*(call.begin(worker) for call in calls[:-1]))
                await calls[-1].begin(worker)
            finally:
                if worker.process is not None:
                    await worker.end(signal.SIGKILL)
            await asyncio.gather(*(call.finish(self.cluster.workers[0]) for call in calls))
            users.put_nowait(names)

    def report(self) -> bool:
        """Print what became of the calls; return whether all is as it must be."""
        ledger = Counter(entry.call for entry in entries(self.cluster.ledger) if entry.what == BEGUN)
        by_point: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            by_point[call.point.name].append(call)
        for name, calls in by_point.items():
            begun = Counter(ledger[call.name] for call in calls)
            outcomes = Counter(call.outcome or "not judged" for call in calls)
            told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
            times = ", ".join(f"{count} × {times}" for times, count in sorted(begun.items()))
            _say(f"{name:28} {len(calls)} kills; executions: {times}; {told}")
        refused = [call for call in self.provider.calls if call.script.status == 400]
        failures = [f"{call.name}: {failure}" for call in self.calls for failure in call.failures]
        for failure in failures[:20]:
            _say(f"FAIL {failure}")
        gone_on = sum(not call.failures for call in self.calls)
        _say(
            f"{len(self.calls)} calls; at most {max(ledger.values(), default=0)} executions of one; {len(refused)} prompts "
            f"refused; {gone_on} as they must be, in conversations that went on"
        )
        return not failures and not refused and max(ledger.values(), default=0) <= 1


async def _main(rounds: int, folder: Path) -> bool:
    with ProviderServer() as provider:
        # Users answer after a worker was killed; nothing expires meanwhile.
        cluster = Cluster(
            folder, provider.openai_url, notifier="polling", workers=1, lease=_LEASE_SECONDS, plant="", approval=3600
        )
        async with cluster:
            kills = Kills(folder, cluster, provider)
            await kills.run(rounds)
            return kills.report()


def main() -> int:
    """Run, print, and return the exit status: 0 if every call is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="streaming_chat_kills_"))
    # PostgreSQL may run as another user.
    folder.chmod(0o755)
    started = time.monotonic()
    is_good = asyncio.run(_main(options.rounds, folder))
    _say(f"{options.rounds} rounds in {time.monotonic() - started:.0f} s")
    if is_good:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    else:
        _say(f"The logs are in {folder}")
    return 0 if is_good else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
