"""What one send costs: its statements, its way through the threads, and the CPU time of each of its stages.

    python -m benchmarks.request [--database sqlite|postgres|both] [--count 30] [--tokens 1] [--messages 50]
        [--cases native,chat,long] [--brief]

A server with the clocks of trace.py gets one send after the other, each on a new connection, and each after the one before
it is saved and its connections are closed. A second server without the clocks gets the same sends: the difference is what
the clocks cost. Statements and hops are those of the most frequent sequence, with the median time of each. The stages are
means of the half of the sends whose totals are in the middle: so they add up. --brief leaves out the statements and hops.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from .clients import answer, ask
from .measures import cpu_seconds, machine, milliseconds, table
from .sites import Server, Site

_WARM_UP = 5
# After an ending the server closes the response and its connections.
_PAUSE_SECONDS = 0.1
_SHOWN_SQL = 150
# Seconds: half of the last digit that is printed.
_LEAST_SHOWN = 5e-6
_REQUEST_THREAD = "request"
Window = dict[str, Any]


class Case(NamedTuple):
    """One kind of send. request: from an order of the provider's and the number of the send to a path and a body."""

    name: str
    request: Callable[[str, int], tuple[str, dict[str, Any]]]


def main(words: Sequence[str]) -> None:
    """Measure each case on each database, and print what was found."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    arguments.add_argument("--count", type=int, default=30)
    arguments.add_argument("--tokens", type=int, default=1)
    arguments.add_argument("--messages", type=int, default=50)
    arguments.add_argument("--cases", default="native,chat,long")
    arguments.add_argument("--brief", action="store_true")
    options = arguments.parse_args(words)
    print(machine(), flush=True)
    for database in ["sqlite", "postgres"] if options.database == "both" else [options.database]:
        with Site("polling", database=database) as site:
            asyncio.run(measure(site, database, options))


async def measure(site: Site, database: str, options: argparse.Namespace) -> None:
    """Print what each case costs on one database."""
    cases = _cases(site, options)
    traced, plain = site.serve("traced", is_traced=True), site.serve("plain")
    await traced.ready()
    await plain.ready()
    for case in (cases[name] for name in options.cases.split(",")):
        await _send_all(site, [plain, traced], case, _WARM_UP, options.tokens)
        before = cpu_seconds(plain.pid)
        await answer(traced.port, "GET", "/trace")
        await _send_all(site, [plain, traced], case, options.count, options.tokens)
        cpu = (cpu_seconds(plain.pid) - before) / options.count
        # The first is that of the request before.
        windows = (await answer(traced.port, "GET", "/trace"))[1:]
        print(f"\n## {case.name}, {database}, {options.count} sends\n\n{_summary(windows, cpu)}\n")
        print(_stages(windows))
        if not options.brief:
            print(f"\n{_statements(windows)}\n\n{_hops(windows)}\n\n{_settings(windows)}", flush=True)


def _cases(site: Site, options: argparse.Namespace) -> dict[str, Case]:
    """Return the cases by their names on the command line. Both servers send into each long conversation once."""
    counts = _WARM_UP + options.count
    long = site.make("histories", 2 * counts, options.messages)

    def native(order: str, number: int) -> tuple[str, dict[str, Any]]:
        return "/chat/api/messages", {"content": order}

    def chat(order: str, number: int) -> tuple[str, dict[str, Any]]:
        return "/chat/api/chat", {"messages": [{"role": "user", "content": order}]}

    def continued(order: str, number: int) -> tuple[str, dict[str, Any]]:
        return f"/chat/api/conversations/{long.pop()}/messages", {"content": order}

    return {
        "native": Case("native send into a new conversation", native),
        "chat": Case("api/chat", chat),
        "long": Case(f"native send into a conversation of {options.messages} messages", continued),
    }


async def _send_all(site: Site, servers: Sequence[Server], case: Case, count: int, tokens: int) -> None:
    """Send so many messages to each server, in turn: a slow minute of the machine falls on all of them."""
    for number in range(count):
        for server in servers:
            order = json.dumps({"key": f"{server.pid} {number}", "every": 0.01, "tokens": tokens})
            await _send(server, site.sessions[0], *case.request(order, number))


async def _send(server: Server, session: str, path: str, body: dict[str, Any]) -> None:
    exchange = await ask(server.port, "POST", path, body, session)
    await exchange.ended
    if exchange.ending != "done":
        raise RuntimeError(f"a reply ended with {exchange.status}, {exchange.ending!r}: {exchange.body[:500]!r}")
    await asyncio.sleep(_PAUSE_SECONDS)


# What is printed


def _summary(windows: Sequence[Window], plain: float) -> str:
    """Return the totals. plain: seconds of CPU of a send without the clocks."""
    clocks = fmean(window["cpu"] for window in windows) - plain
    statements = Counter(role for role, *_ in _usual(windows, "statements")[0]["statements"])
    hops = Counter(kind for kind, _name in _usual(windows, "hops")[0]["hops"])
    settings = _usual(windows, "settings")[0]
    lines = [
        f"- CPU without the clocks: {milliseconds(plain)} ms. The clocks take {milliseconds(clocks)} more.",
        f"- Statements: {_counts(statements)}.",
        f"- Hops to a thread: {_counts(hops)}.",
        f"- Settings: {len(settings['settings'])} reads, {len(settings['unset_settings'])} of what the site has not set.",
    ]
    return "\n".join(lines)


def _by_thread(windows: Sequence[Window]) -> dict[str, float]:
    """Return the seconds of CPU of each thread per send, the largest first."""
    middle = _middle(windows)
    roles = {role for window in middle for role in window["threads"]}
    seconds = {role: fmean(window["threads"].get(role, 0.0) for window in middle) for role in roles}
    return {
        role: seconds[role] for role in sorted(roles, key=lambda role: -seconds[role]) if seconds[role] >= _LEAST_SHOWN
    }


def _stages(windows: Sequence[Window]) -> str:
    """Return the table of stages, by thread."""
    middle = _middle(windows)
    by_thread = _by_thread(windows)
    total = fmean(window["cpu"] for window in middle)
    rows = []
    for role, seconds in by_thread.items():
        rows += [[role, *row] for row in _stages_of(middle, role, seconds)]
        rows.append([role, "**all of this thread**", _figure(seconds), ""])
    rows += [["", "other threads", _figure(total - sum(by_thread.values())), ""], ["", "**all**", _figure(total), ""]]
    return table(["thread", "stage", "CPU, ms", "in statements"], rows)


def _stages_of(windows: Sequence[Window], role: str, of_thread: float) -> list[list[str]]:
    """Return the rows of one thread, the largest first. of_thread: its seconds of CPU."""
    stages = {stage for window in windows for of, stage, _ in window["stages"] if of == role}
    seconds = {stage: _mean(windows, role, stage) for stage in stages}
    seconds["not attributed"] = of_thread - sum(seconds.values())
    rows = []
    for stage, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        inside = _in_statements(windows, role, stage)
        if spent >= _LEAST_SHOWN:
            rows.append([stage, _figure(spent), _figure(inside) if inside else ""])
    return rows


def _statements(windows: Sequence[Window]) -> str:
    """Return the table of statements, by thread."""
    usual = _usual(windows, "statements")
    rows = []
    for number, (role, _stage, sql, *_) in enumerate(usual[0]["statements"]):
        times = [window["statements"][number][3:] for window in usual]
        wall, cpu = (median(column) for column in zip(*times, strict=True))
        rows.append([role, _shortened(sql), _figure(wall), _figure(cpu)])
    rows.sort(key=lambda row: row[0] != _REQUEST_THREAD)
    numbered = [[number, *row] for number, row in enumerate(rows, 1)]
    heads = ["", "thread", f"statement ({len(usual)} of {len(windows)} sends)", "ms", "CPU, ms"]
    return table(heads, numbered)


def _hops(windows: Sequence[Window]) -> str:
    hops = _usual(windows, "hops")[0]["hops"]
    return "Hops: " + ", ".join(f"{name} ({kind})" for kind, name in hops) + "."


def _settings(windows: Sequence[Window]) -> str:
    window = _usual(windows, "settings")[0]
    ours = Counter(name.removeprefix("STREAMING_CHAT_") for name in window["settings"])
    return f"Settings: {_counts(ours)}. Looked for by Django: {_counts(Counter(window['unset_settings']))}."


def _usual(windows: Sequence[Window], what: str) -> list[Window]:
    """Return the sends with the most frequent sequence of statements, hops or settings."""
    shapes = [_shape(window, what) for window in windows]
    (usual, _count), *_ = Counter(shapes).most_common(1)
    return [window for window, shape in zip(windows, shapes, strict=True) if shape == usual]


def _shape(window: Window, what: str) -> str:
    if what == "statements":
        # Two threads may be at work at the same time.
        window["statements"].sort(key=lambda statement: statement[0])
        return json.dumps([[role, _shortened(sql)] for role, _stage, sql, *_times in window["statements"]])
    return json.dumps(window[what])


def _middle(windows: Sequence[Window]) -> list[Window]:
    """Return the half of the sends whose totals are in the middle."""
    quarter = len(windows) // 4
    return sorted(windows, key=lambda window: window["cpu"])[quarter : len(windows) - quarter]


def _mean(windows: Sequence[Window], role: str, stage: str) -> float:
    """Return the seconds of CPU of a stage, per send."""
    own = [seconds for window in windows for of, name, seconds in window["stages"] if (of, name) == (role, stage)]
    return sum(own) / len(windows)


def _in_statements(windows: Sequence[Window], role: str, stage: str) -> float:
    """Return what of a stage the statements took: the rest is Python around them, as the ORM."""
    return sum(
        cpu for window in windows for of, name, _, _, cpu in window["statements"] if (of, name) == (role, stage)
    ) / len(windows)


def _shortened(sql: str) -> str:
    """Return SQL as it can be read: without quotes, and with a long list of columns as …"""
    sql = " ".join(sql.split()).replace('"', "").replace("streaming_chat_", "").replace("|", "\\|")
    sql = re.sub(r"(?<=SELECT )(?!DISTINCT|1 )[^()]*?(?= FROM )", _first_columns, sql)
    sql = re.sub(r" \(.*?\) VALUES .*?(?= RETURNING|$)", " …", sql)
    # Django names savepoints after the thread.
    sql = re.sub(r"(?<=SAVEPOINT )\w+", "…", sql)
    return sql if len(sql) <= _SHOWN_SQL else f"{sql[:_SHOWN_SQL]}…"


def _first_columns(found: re.Match[str]) -> str:
    columns = found[0].split(", ")
    return found[0] if len(columns) <= 3 else f"{', '.join(columns[:2])}, … ({len(columns)} columns)"


def _counts(counted: Counter[str]) -> str:
    each = ", ".join(f"{count} {name}" for name, count in counted.most_common())
    return f"{counted.total()} ({each})" if counted else "none"


def _figure(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"


if __name__ == "__main__":
    main(sys.argv[1:])
