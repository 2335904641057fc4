"""The attacks, each a function of its own. As a command it runs one, for `python -m tests.attack`, at a low priority.

Each has a fixed amount of work, so that the cost before and after a change can be compared, and is cut off in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psycopg

from tests.chaos.connection import Connection

from .attacker import Attacker, rest, times
from .instance import HEARTBEAT_SECONDS, MAX_READERS, Site

_AT_ONCE = 8
_PIECE = b"x" * 62_500
_PIECES = 3_200
# What the buffers of sockets take is on its way before the server can refuse.
_MOST_TAKEN = 20_000_000
_CHARACTERS = 31_000
DEGENERATE = ("!", "`\n", "*a_", "1. a\n", "[a](", "|a", "\u0301", "👩\u200d", "\u202e", "a", " ", "> ")


class Attack(NamedTuple):
    """title: of its row. by: who attacks, a key of Site.sessions, "" for nobody. run: the attack."""

    name: str
    title: str
    by: str
    run: Callable[[Attacker], Awaitable[None]]


ATTACKS: dict[str, Attack] = {}

_Run = Callable[[Attacker], Awaitable[None]]


def _attack(title: str, by: str = "user") -> Callable[[_Run], _Run]:
    """Register an attack under its function's name. by: "user" and "visitor" are new ones."""

    def register(run: _Run) -> _Run:
        name = run.__name__.replace("_", "-")
        ATTACKS[name] = Attack(name, title, f"{by}-{name}" if by in ("user", "visitor") else by, run)
        return run

    return register


@_attack("nothing, for comparison")
async def nothing(attacker: Attacker) -> None:
    await attacker.ask("GET", "api/models")
    await asyncio.sleep(3)


# Rows


def _turns() -> list[dict[str, str]]:
    return [{"role": "user", "content": "a"}] * 34_000


@_attack("34,000 one-letter turns to api/chat, 8 times", by="visitor")
async def turns(attacker: Attacker) -> None:
    await times(8, 4, lambda _n: attacker.send("api/chat", messages=_turns()))


@_attack("… and that conversation read 40 times, 8 at a time", by="visitor")
async def turns_read(attacker: Attacker) -> None:
    reply = await attacker.send("api/chat", messages=_turns())
    path = f"api/conversations/{reply.conversation}"
    await times(40, _AT_ONCE, lambda n: attacker.ask("GET", f"{path}/messages" if n % 2 else path))


@_attack(
    "a conversation of 4,900 messages: tree, plain page, page, branch and sends, 80 in all, 8 at a time", by="grown"
)
async def grown(attacker: Attacker) -> None:
    grown = attacker.site.grown
    paths = [f"api/conversations/{grown}/messages", f"c/{grown}?view=plain", f"c/{grown}", f"api/conversations/{grown}"]

    async def use(number: int) -> None:
        if number % 5 == 4:
            await attacker.send(f"api/conversations/{grown}/messages", content="More.", model="openai:answer")
        else:
            await attacker.ask("GET", paths[number % 5])

    await times(80, _AT_ONCE, use)


@_attack("600 regenerations, 3 at a time")
async def regenerations(attacker: Attacker) -> None:
    await _regenerate(attacker, "openai:answer")


@_attack("600 regenerations while the provider refuses, 3 at a time")
async def refused_regenerations(attacker: Attacker) -> None:
    await _regenerate(attacker, "openai:refusal")


async def _regenerate(attacker: Attacker, model: str) -> None:
    replies = [await attacker.send(content="Again?", model=model) for _ in range(3)]
    await times(600, 3, lambda n: attacker.send(f"api/messages/{replies[n % 3].message}/regenerate"))


@_attack("1,400 empty conversations, 8 at a time", by="visitor")
async def empty_conversations(attacker: Attacker) -> None:
    await times(1400, _AT_ONCE, lambda n: attacker.ask("POST", "api/conversations", {"title": str(n)}))


# Readers


@_attack(f"{MAX_READERS + 10} streams of one's own reply; then another user sends")
async def streams(attacker: Attacker) -> None:
    port = attacker.site.ports[0]
    first = await attacker.open("POST", "api/messages", {"content": "Slowly.", "model": "openai:slow"}, port=port)
    message = (await anext(first.frames(10))).id.partition("/")[0]
    opened = [first]
    for _ in range(MAX_READERS + 10):
        connection = await attacker.open("GET", f"api/messages/{message}/events", port=port)
        attacker.got[f"{connection.status}"] += 1
        opened.append(connection)
    other = Attacker(attacker.site, attacker.site.sessions["other"], "10.1.0.1")
    body = {"content": "Am I let in?", "model": "openai:answer"}
    for _ in range(5):
        connection = await other.open("POST", "api/messages", body, port=port)
        if connection.is_stream:
            async for _event in rest(connection):
                pass
        attacker.got[f"another's send: {connection.status}"] += 1
        if connection.status != 200:
            attacker.went_wrong(f"another user's send was answered with {connection.status}.")
    for connection in opened:
        connection.leave("RST")


# What a provider sends


@_attack("a provider that sends 300 tool calls of 900 KB")
async def tool_calls(attacker: Attacker) -> None:
    await attacker.send(content="Call.", model="openai:300-calls")


@_attack("a provider that sends 2,000 tool calls of 900 KB")
async def many_tool_calls(attacker: Attacker) -> None:
    await attacker.send(content="Call.", model="openai:2000-calls")


@_attack("3,000 deltas after 1 MB of unfinished arguments")
async def unfinished_arguments(attacker: Attacker) -> None:
    await attacker.send(content="Call.", model="openai:unfinished")


@_attack("an error body of 1 GB")
async def error_gigabyte(attacker: Attacker) -> None:
    await attacker.send(content="Fail.", model="openai:gigabyte")


@_attack("an error body of 4 MB of one word")
async def error_word(attacker: Attacker) -> None:
    await attacker.send(content="Fail.", model="openai:one-word")


@_attack("a reply of 31 parts of degenerate Markdown, whose plain page is loaded 16 times, 4 at a time")
async def markdown(attacker: Attacker) -> None:
    reply = await attacker.send(content="Write.", model="openai:markdown")
    await times(16, 4, lambda _n: attacker.ask("GET", f"c/{reply.conversation}?view=plain"))


# Permissions

_REVOCATIONS = {
    "staff": "DELETE FROM auth_user_user_permissions WHERE user_id = (SELECT id FROM auth_user WHERE username = 'staff')",
    "staff2": "UPDATE auth_user SET is_active = false WHERE username = 'staff2'",
}


@_attack("staff who follow a reply and lose the permission, or the account")
async def staff(attacker: Attacker) -> None:
    port = attacker.site.ports[0]
    owners = await attacker.open("POST", "api/messages", {"content": "Slowly.", "model": "openai:slow"}, port=port)
    start = (await anext(owners.frames(10))).data or {}
    path = f"/admin/streaming_chat/conversation/{start['conversation']}/messages/{start['message']}/events"
    for number, (name, revocation) in enumerate(_REVOCATIONS.items()):
        follower = Attacker(attacker.site, attacker.site.sessions[name], "10.1.0.2")
        # The process that writes the reply, and the other one.
        stream = await follower.open("GET", path, port=attacker.site.ports[-number])
        await anext(stream.frames(10))
        with psycopg.connect(attacker.site.database, autocommit=True) as connection:
            connection.execute(revocation)
        await _wait_for_the_end(attacker, stream, name)
    owners.leave("RST")


async def _wait_for_the_end(attacker: Attacker, stream: Connection, name: str) -> None:
    began, last = time.monotonic(), "nothing"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * HEARTBEAT_SECONDS):
            async for event in rest(stream):
                last = event
            attacker.got[f"{name}: {last} after {time.monotonic() - began:.1f} s"] += 1
            return
    attacker.got[f"{name}: reads on"] += 1
    attacker.went_wrong("staff read on for two heartbeats without the permission.")


# Bodies


@_attack("a body of 200 MB without an account, with Content-Length, 6 times", by="")
async def body_with_length(attacker: Attacker) -> None:
    await _pour(attacker, f"Content-Length: {_PIECES * len(_PIECE)}", [_PIECE] * _PIECES)


@_attack("a body of 200 MB without an account, chunked, 6 times", by="")
async def body_in_chunks(attacker: Attacker) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
    await _pour(attacker, "Transfer-Encoding: chunked", [*[chunk] * _PIECES, b"0\r\n\r\n"])


async def _pour(attacker: Attacker, length: str, pieces: list[bytes]) -> None:
    head = ["POST /chat/api/messages HTTP/1.1", "Content-Type: application/json", length]
    ports = attacker.site.ports

    async def pour(number: int) -> None:
        if await attacker.pour(ports[number % len(ports)], head, pieces) > _MOST_TAKEN:
            attacker.went_wrong("a server took most of a body that is too large.")

    await times(6, 3, pour)


@_attack("400 requests whose body never comes, for 5 s", by="")
async def absent_bodies(attacker: Attacker) -> None:
    head = "POST /chat/api/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    writers = []
    for number in range(400):
        _reader, writer = await asyncio.open_connection("127.0.0.1", attacker.site.ports[number % 2])
        writer.write(head.encode())
        writers.append(writer)
    await asyncio.sleep(5)
    attacker.got["connections"] = len(writers)
    for writer in writers:
        writer.close()


# Words


@_attack("12 degenerate messages, and their plain pages", by="user")
async def prompts(attacker: Attacker) -> None:
    async def send(number: int) -> None:
        content = DEGENERATE[number] * (_CHARACTERS // len(DEGENERATE[number]))
        reply = await attacker.send(content=content, model="openai:answer")
        if reply.conversation:
            await attacker.ask("GET", f"c/{reply.conversation}?view=plain")

    await times(len(DEGENERATE), 3, send)


@_attack("120 degenerate searches, 8 at a time")
async def searches(attacker: Attacker) -> None:
    for number in range(3):
        await attacker.send(content=f"{number} " + "a b " * 7000, model="openai:answer")
    texts = [text * 80 for text in DEGENERATE] + ["a " * 100, '"' * 200, "%_" * 100, "a" * 200, "* OR " * 40]
    # Older checkouts search with GET.
    is_get = (await attacker.open("POST", "api/conversations/search", {"search": "a"})).status != 200

    async def search(number: int) -> None:
        asked = {"search": texts[number % len(texts)][:200]}
        if is_get:
            await attacker.ask("GET", f"api/conversations?{urlencode(asked)}")
        else:
            await attacker.ask("POST", "api/conversations/search", asked)

    await times(120, _AT_ONCE, search)


async def _run(name: str, seconds: float, site: Site) -> dict[str, Any]:
    attack = ATTACKS[name]
    address = f"10.0.{list(ATTACKS).index(name)}.1"
    attacker = Attacker(site, site.sessions[attack.by] if attack.by else "", address)
    try:
        async with asyncio.timeout(seconds):
            await attack.run(attacker)
    except TimeoutError:
        attacker.got[f"cut off after {seconds:g} s"] += 1
    except Exception as error:  # noqa: BLE001  (a server that an attack has broken answers anything)
        attacker.went_wrong(f"the attack broke off: {type(error).__name__}: {error}.")
    return {"got": attacker.got, "wrong": attacker.wrong}


if __name__ == "__main__":
    os.nice(10)
    said = json.load(sys.stdin)
    sys.stdout.write(json.dumps(asyncio.run(_run(said["name"], said["seconds"], Site(*said["site"])))))
