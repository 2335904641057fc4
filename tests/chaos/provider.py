"""A provider in the checker's own loop: it says something else in each call, and records exactly what it said.

What a reply says follows from the seed and the model asked for, which every send names anew: its key. The text carries
the canary of who asked, and numbered words, so that a gap or a repetition shows. Each delta is recorded before it is
written: what nobody recorded, nobody got.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from typing import Any, Self

from tests.provider_server import OpenAIWire, Script, _head

from .history import History, Record

CANARY = re.compile(r"canary-[0-9a-f]{12}")
# Words of a prompt that wants a short reply.
BRIEFLY = "wants to know, briefly."
_FEWEST, _MOST, _BRIEF = 5, 60, 8
_ORNAMENTS = ("", "", "", " ", "\n", " ü", " 漢字", " 👩‍🚀", " \u2028", ' "x"\\')
_WIRE = OpenAIWire()


class Provider:
    """Listens on a free port of 127.0.0.1 while its block lasts."""

    def __init__(self, history: History, seed: int) -> None:
        self._history = history
        self._seed = seed
        self._calls: list[Record] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *args: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def record(self) -> None:
        """Write all calls into the history."""
        for call in self._calls:
            self._history.write("call", **call)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(await _request(reader), writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        key = body["model"]
        canaries = sorted(set(CANARY.findall(json.dumps(body["messages"]))))
        call: Record = {"key": key, "canaries": canaries, "deltas": [], "whole": False}
        self._calls.append(call)
        rng = random.Random(f"{self._seed}/{key}")
        most = _BRIEF if body["messages"][-1]["content"].endswith(BRIEFLY) else _MOST
        deltas = _deltas(rng, rng.randint(_FEWEST, most), key, canaries[0] if canaries else "")
        script = Script(deltas)
        writer.write(_head(200, {"content-type": "text/event-stream", "connection": "close"}))
        await asyncio.sleep(rng.uniform(0, 0.3))
        writer.write(_WIRE.opening(script))
        for delta in deltas:
            await asyncio.sleep(_pause(rng))
            if writer.transport.is_closing():
                return
            call["deltas"].append(delta)
            writer.write(_WIRE.delta(delta))
            await writer.drain()
        writer.write(b"".join(_WIRE.closing(script)))
        await writer.drain()
        call["whole"] = True


def _deltas(rng: random.Random, count: int, key: str, canary: str) -> list[str]:
    deltas = [f"{number}:{key}{rng.choice(_ORNAMENTS)} " for number in range(count)]
    for place in range(0, count, 7):
        deltas[place] += f"{canary} "
    return deltas


def _pause(rng: random.Random) -> float:
    """Return the seconds before a delta: mostly a token's time, now and then none or a second."""
    return rng.choices([0.0, rng.uniform(0.02, 0.15), rng.uniform(0.5, 1.5)], [20, 78, 2])[0]


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return json.loads(await reader.readexactly(int(length[1]) if length else 0))
