"""What two processes cost and lose: a reply is written in one and followed, stopped or survived in the other.

    python -m benchmarks.processes latency [--replies 20] [--tokens 400] [--notifiers redis,notify,polling]
    python -m benchmarks.processes stop [--count 50]
    python -m benchmarks.processes kill [--rounds 50] [--at-once 10]
    python -m benchmarks.processes term [--replies 100]

All on real PostgreSQL and Valkey, by uvicorn processes of their own, with the app's default settings.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from .clients import Exchange, answer, follow, send, until
from .measures import machine, milliseconds, percentile, table
from .sites import NOTIFIERS, Server, Site
from .stamps import times

# 20 tokens a second: what fast models send.
_EVERY = 0.05
# Of a reply that is to outlast what is done to it.
_FOR_EVER: dict[str, Any] = {"every": _EVERY}
_SETTLED_SECONDS = 40.0
_FIRST_TOKEN_SECONDS = 30.0


def main(words: Sequence[str]) -> None:
    """Run the measurement that the first word names, and print its table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["latency", "stop", "kill", "term"])
    arguments.add_argument("--notifiers", default=",".join(NOTIFIERS))
    arguments.add_argument("--replies", type=int)
    arguments.add_argument("--tokens", type=int, default=400)
    arguments.add_argument("--count", type=int, default=50)
    arguments.add_argument("--rounds", type=int, default=50)
    arguments.add_argument("--at-once", type=int, default=10)
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    notifiers = options.notifiers.split(",")
    if options.what == "latency":
        measure_latency(notifiers, options.replies or 20, options.tokens)
    elif options.what == "stop":
        measure_stops(notifiers, options.count)
    elif options.what == "kill":
        measure_kills(notifiers, options.rounds, options.at_once)
    else:
        measure_term(options.replies or 100)


async def two(site: Site) -> tuple[Server, Server]:
    """Return two servers that answer."""
    first, second = site.serve("first"), site.serve("second")
    await asyncio.gather(first.ready(), second.ready())
    return first, second


# Latency


def measure_latency(notifiers: Sequence[str], replies: int, tokens: int) -> None:
    """Compare when the same token came from the process that writes it and from the other one."""
    rows = []
    for notifier in notifiers:
        with Site(notifier, replies) as site:
            rows.append([notifier, *asyncio.run(_latency(site, replies, tokens))])
    heads = ["notifier", "tokens", "added p50, ms", "p99, ms", "max, ms", "in the writing process p50, ms", "p99, ms"]
    print(table([*heads, "identical texts"], rows))


async def _latency(site: Site, replies: int, tokens: int) -> list[Any]:
    first, second = await two(site)
    own = [await send(first.port, site.sessions[n], key=f"r{n}", every=_EVERY, tokens=tokens) for n in range(replies)]
    for exchange in own:
        await exchange.started
    other = [await follow(second.port, site.sessions[n], exchange.message) for n, exchange in enumerate(own)]
    for exchange in [*own, *other]:
        await exchange.ended
    # The first second holds what was written before the other process followed.
    skipped = round(1 / _EVERY) + 1
    added, direct = [], []
    for near, far in zip(own, other, strict=True):
        added += [b - a for a, b in zip(near.arrivals, far.arrivals, strict=True)][skipped:]
        direct += near.latencies()[skipped:]
    same = sum(near.text == far.text for near, far in zip(own, other, strict=True))
    figures = [percentile(added, 50), percentile(added, 99), max(added), percentile(direct, 50), percentile(direct, 99)]
    return [len(added), *map(milliseconds, figures), f"{same} of {replies}"]


# Stops


def measure_stops(notifiers: Sequence[str], count: int) -> None:
    """Measure how soon after a stop's request the provider sees its connection closed."""
    rows = []
    for notifier in notifiers:
        with Site(notifier, count) as site:
            rows += [[notifier, *row] for row in asyncio.run(_stops(site, count))]
    print(table(["notifier", "way", "stops", "p50, ms", "p95, ms", "max, ms"], rows))


async def _stops(site: Site, count: int) -> list[list[Any]]:
    first, second = await two(site)
    rows = []
    for way, writer, stopper in (("same process", first, first), ("A → B", first, second), ("B → A", second, first)):
        # Five at once, one after the other in each hand.
        hands = [range(hand, count, 5) for hand in range(5)]
        found = await asyncio.gather(*(_stop_each(site, (writer, stopper), way, hand) for hand in hands))
        seconds = [each for hand in found for each in hand]
        figures = [percentile(seconds, 50), percentile(seconds, 95), max(seconds)]
        rows.append([way, len(seconds), *map(milliseconds, figures)])
    return rows


async def _stop_each(site: Site, servers: tuple[Server, Server], way: str, numbers: range) -> list[float]:
    """Stop one reply after the other, written by the first server, by the second; return how long each took."""
    return [await _stop(site, servers, f"{way} {number}", site.sessions[number]) for number in numbers]


async def _stop(site: Site, servers: tuple[Server, Server], key: str, session: str) -> float:
    exchange = await send(servers[0].port, session, key=key, **_FOR_EVER)
    # The first reply of a process imports the provider's SDK; before that there is no call to close.
    await until(lambda: exchange.text, _FIRST_TOKEN_SECONDS)
    # At any moment of the writer's and the follower's rounds.
    await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311  (a moment, no secret)
    asked = time.monotonic()
    await answer(servers[1].port, "POST", f"/chat/api/messages/{exchange.message}/stop", {}, session)
    await exchange.ended
    return (await site.calls())[key]["closed"] - asked


# Kills


class Victim(NamedTuple):
    """A reply whose process is killed: its key, its reader there, and the one in the process that survives."""

    key: str
    near: Exchange
    far: Exchange


class Loss(NamedTuple):
    """What became of it, in seconds. missing: of tokens that the provider had sent when the process was killed."""

    missing: float
    settled: float
    is_prefix: bool
    has_ending: bool
    is_same: bool


def measure_kills(notifiers: Sequence[str], rounds: int, at_once: int) -> None:
    """Kill processes at random moments, and compare what is saved with what the provider had sent."""
    rows = []
    for notifier in notifiers:
        with Site(notifier, at_once * _REPLIES_A_ROUND) as site:
            losses = asyncio.run(_kills(site, rounds, at_once))
        missing = [loss.missing for loss in losses]
        rows.append(
            [
                notifier,
                f"{rounds}, {len(losses)}",
                *(f"{percentile(missing, share):.2f}" for share in (50, 95, 100)),
                sum(loss.is_prefix for loss in losses),
                *(f"{percentile((loss.settled for loss in losses), share):.1f}" for share in (50, 100)),
                sum(loss.has_ending for loss in losses),
                sum(loss.is_same for loss in losses),
            ]
        )
    heads = [
        "notifier",
        "kills, replies",
        "lost p50, s",
        "p95, s",
        "max, s",
        "saved is a prefix",
        "settled p50, s",
        "max, s",
    ]
    print(table([*heads, "ending seen on the other", "its text is the saved"], rows))


_REPLIES_A_ROUND = 2


async def _kills(site: Site, rounds: int, at_once: int) -> list[Loss]:
    survivor = await site.serve("survivor").ready()
    losses: list[Loss] = []
    for first in range(0, rounds, at_once):
        numbers = range(first, min(first + at_once, rounds))
        servers = [site.serve(f"victim{number}") for number in numbers]
        await asyncio.gather(*(server.ready() for server in servers))
        for found in await asyncio.gather(
            *(
                _kill(site, server, survivor, number, number - first)
                for server, number in zip(servers, numbers, strict=True)
            )
        ):
            losses += found
        print(f"{len(losses)} replies", file=sys.stderr, flush=True)
    return losses


async def _kill(site: Site, server: Server, survivor: Server, number: int, place: int) -> list[Loss]:
    """Kill one process with the replies that it writes."""
    victims = []
    for n in range(_REPLIES_A_ROUND):
        key, session = f"k{number}-{n}", site.sessions[place * _REPLIES_A_ROUND + n]
        near = await send(server.port, session, key=key, **_FOR_EVER)
        await near.started
        victims.append(Victim(key, near, await follow(survivor.port, session, near.message)))
    await asyncio.sleep(random.uniform(1, 5))  # noqa: S311  (a moment, no secret)
    killed = time.monotonic()
    await asyncio.to_thread(server.end, signal.SIGKILL)
    for victim in victims:
        await until(victim.far.ended.done, _SETTLED_SECONDS)
    calls = await site.calls()
    return [_loss(site, victim, calls[victim.key]["text"], killed) for victim in victims]


def _loss(site: Site, victim: Victim, sent: str, killed: float) -> Loss:
    text = _saved(site, victim.near.message)
    before = [at for at in times(sent) if at <= killed]
    saved = times(text)
    return Loss(
        missing=max(0.0, before[-1] - saved[-1] if saved else killed - before[0]),
        settled=victim.far.ended_at - killed if victim.far.ending else float("inf"),
        is_prefix=sent.startswith(text),
        has_ending=victim.far.ending == "interrupted",
        is_same=victim.far.text == text,
    )


def _saved(site: Site, message: str) -> str:
    return site.query("SELECT text FROM streaming_chat_message WHERE id = %s", message)[0][0]


# SIGTERM


def measure_term(replies: int) -> None:
    """End `uvicorn --workers 2` with open replies, and compare what is saved with what was sent and seen."""
    rows = []
    for drain in (10.0, 0.0):
        with Site("polling", replies, STREAMING_CHAT_DRAIN_SECONDS=drain) as site:
            rows.append([f"{drain:g}", replies, *asyncio.run(_term(site, replies))])
    heads = ["DRAIN_SECONDS", "replies", "saved with an ending", "saved is a prefix of what was sent"]
    print(table([*heads, "saved is what its reader saw", "lost p50, ms", "max, ms", "exit, s", "left live"], rows))


async def _term(site: Site, replies: int) -> list[Any]:
    server = await site.serve("workers", "--workers", "2").ready()
    exchanges = [await send(server.port, site.sessions[n], key=f"t{n}", **_FOR_EVER) for n in range(replies)]
    for exchange in exchanges:
        await exchange.started
    await asyncio.sleep(2)
    seconds = await asyncio.to_thread(server.end, signal.SIGTERM)
    for exchange in exchanges:
        await exchange.ended
    calls = await site.calls()
    ended, prefixes, same, lost = 0, 0, 0, []
    for number, exchange in enumerate(exchanges):
        call = calls[f"t{number}"]
        text, status = site.query("SELECT text, status FROM streaming_chat_message WHERE id = %s", exchange.message)[0]
        ended += status == "interrupted"
        prefixes += call["text"].startswith(text)
        same += exchange.text == text and exchange.ending == "interrupted"
        before = [at for at in times(call["text"]) if at <= call["closed"]]
        lost.append(max(0.0, before[-1] - times(text)[-1]))
    left = site.query("SELECT count(*) FROM streaming_chat_livereply")[0][0]
    figures = [milliseconds(percentile(lost, 50)), milliseconds(max(lost)), f"{seconds:.1f}"]
    return [ended, prefixes, same, *figures, left]


if __name__ == "__main__":
    main(sys.argv[1:])
