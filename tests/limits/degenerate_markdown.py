"""110 texts in Markdown that are expensive to read, each of any size. degenerate_markdown.json describes them.

Each is a unit that is repeated, or an object with these strings, of which only `unit` is required:

start, end: once, before and after everything.
unit: In it, {n} stands for its number, from 0, and {grow} for the string `grow`, repeated from 0 to 99 times and over again.
middle, closing: `closing` is repeated as often as the unit, after `middle`.
"""

import json
from pathlib import Path

_INPUTS = json.loads(Path(__file__).with_suffix(".json").read_text())

NAMES: list[str] = list(_INPUTS)


def degenerate(name: str, size: int) -> str:
    """Return the text with this name: as many units as fit into `size` characters."""
    found = _INPUTS[name]
    pieces = {"unit": found} if isinstance(found, str) else found
    start, middle, end = (pieces.get(key, "") for key in ("start", "middle", "end"))
    room = size - len(start) - len(middle) - len(end)
    units: list[str] = []
    closings: list[str] = []
    while True:
        unit = _unit(pieces, len(units))
        room -= len(unit) + len(pieces.get("closing", ""))
        if room < 0:
            return start + "".join(units) + middle + "".join(closings) + end
        units.append(unit)
        closings.append(pieces.get("closing", ""))


def _unit(pieces: dict[str, str], number: int) -> str:
    return pieces["unit"].replace("{n}", str(number)).replace("{grow}", pieces.get("grow", "") * (number % 100))
