"""The ledger of the tools: what each call did, whatever became of it. A file to which all workers append.

A line that is written is there, also if its worker is killed then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

BEGUN, DONE = "begun", "done"


class Entry(NamedTuple):
    """One line. what: BEGUN or DONE. call: the name that the call had among its arguments."""

    what: str
    call: str
    worker: str


def entries(path: Path) -> list[Entry]:
    """Return what the tools have done, in order."""
    return [Entry(*line.split("\t")) for line in path.read_text().splitlines()] if path.exists() else []


def note(what: str, call: str) -> None:
    """Add a line to the ledger of this worker's site."""
    line = f"{what}\t{call}\t{os.environ['CHAOS_WORKER']}\n"
    ledger = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)
