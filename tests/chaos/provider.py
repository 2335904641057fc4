"""A provider in the checker's own loop: it says something else in each call, and records exactly what it said.

What a reply says follows from the seed and the model asked for, which every send names anew: its key. The text carries
the canary of who asked, and numbered words, so that a gap or a repetition shows. Each delta is recorded before it is
written: what nobody recorded, nobody got.

A model whose key begins with TOOLS calls tools first. A request with a call without a result is refused, as the APIs do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from typing import Any, Self

from tests.provider_server import OpenAIWire, Script, _head
from tests.tool_pairs import problem_with_messages

from .history import History, Record

CANARY = re.compile(r"canary-[0-9a-f]{12}")
# Words of a prompt that wants a short reply.
BRIEFLY = "wants to know, briefly."
# What the keys of models with tools begin with, and the end of the name of a call that waits for a person.
TOOLS, NEEDS_ANSWER = "t", "/answer"
_FEWEST, _MOST, _BRIEF = 5, 60, 8
# How many tools are called in a step, by how often.
_CALLS = {1: 5, 2: 3, 3: 2}
_SECOND_ROUND, _ASKED = 0.3, 0.25
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
        key, messages = body["model"], body["messages"]
        canaries = sorted(set(CANARY.findall(json.dumps(messages))))
        call: Record = {"key": key, "step": _step(messages), "canaries": canaries, "deltas": [], "whole": False}
        call["refused"] = problem_with_messages(body)
        self._calls.append(call)
        if call["refused"]:
            writer.write(_head(400, {"content-length": "0", "connection": "close"}))
            return
        rng, script = self._script(call, messages)
        writer.write(_head(200, {"content-type": "text/event-stream", "connection": "close"}))
        await asyncio.sleep(rng.uniform(0, 0.3))
        writer.write(_WIRE.opening(script))
        for delta in script.deltas:
            await asyncio.sleep(_pause(rng))
            if writer.transport.is_closing():
                return
            call["deltas"].append(delta)
            writer.write(_WIRE.delta(delta))
            await writer.drain()
        for index, (name, arguments) in enumerate(script.tool_calls):
            await asyncio.sleep(_pause(rng))
            writer.write(_WIRE.tool_call(index, name, arguments))
        writer.write(b"".join(_WIRE.closing(script)))
        await writer.drain()
        call["whole"] = True

    def _script(self, call: Record, messages: list[dict[str, Any]]) -> tuple[random.Random, Script]:
        """Return what to say, and the numbers for its times."""
        key, step = call["key"], call["step"]
        has_tools = key.startswith(TOOLS)
        rng = random.Random(f"{self._seed}/{key}/{step}" if has_tools else f"{self._seed}/{key}")
        asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
        most = _BRIEF if has_tools or asked.endswith(BRIEFLY) else _MOST
        deltas = _deltas(rng, rng.randint(_FEWEST, most), key, next(iter(call["canaries"]), ""))
        return rng, Script(deltas, tool_calls=_tool_calls(rng, key, step) if has_tools else ())


def _step(messages: list[dict[str, Any]]) -> int:
    """Return how often the model has been asked since the last message of the user, this time included."""
    step = 1
    for message in messages:
        if message["role"] == "user":
            step = 1
        elif message.get("tool_calls"):
            step += 1
    return step


def _tool_calls(rng: random.Random, key: str, step: int) -> list[tuple[str, str]]:
    """Return the calls of a step: each has a name of its own."""
    if step > 2 or (step == 2 and rng.random() > _SECOND_ROUND):
        return []
    calls = []
    for number in range(rng.choices([*_CALLS], [*_CALLS.values()])[0]):
        ending = NEEDS_ANSWER if rng.random() < _ASKED else ""
        arguments = json.dumps({"call": f"{key}/{step}/{number}{ending}"})
        calls.append((rng.choice(["write", "write_in_loop"]), arguments))
    return calls


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
