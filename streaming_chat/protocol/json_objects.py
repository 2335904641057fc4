"""The JSON object that a reply consists of: complete, or still growing. No I/O, no Django.

Weak models put a code fence around it, which is left out. An incomplete object is a prefix of the complete one: it has the
first of its keys, and the value of the last of these is itself a prefix. A prefix of a list has the first of its items, a
prefix of a string the first of its characters; a number, true, false and null are there only as a whole.
"""

from __future__ import annotations

import json
import re
from typing import Any

_FENCED = re.compile(r"```\w*\s(.*)```", re.DOTALL)
_OPENING = re.compile(rb"\s*(?:```\w*\s+)?(?=\{)")
_QUOTE_OR_ESCAPE = re.compile(r'\\(?:.|\Z)|"', re.DOTALL)
_IN_NUMBERS = b"0123456789+-.eE"
_NUMBERS_BEGIN = b"0123456789-"
# Each look reads all of the text, so a long one is looked at after it has grown by this part: the work of all looks
# together is in proportion to the text.
_GROWTH = 64


def object_text(text: str) -> str:
    """Return the text without white space and a code fence around it."""
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    return fenced[1].strip() if fenced else text


def object_in(text: str) -> dict[str, Any]:
    """Return the object that a text is. Raises ValueError for anything else, for the same key twice, NaN and infinity."""
    try:
        found = json.loads(object_text(text), object_pairs_hook=_unique)
        json.dumps(found, allow_nan=False)
    except RecursionError:
        raise ValueError("the object is nested too deeply.") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}.")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice.")
    return found


class GrowingObject:
    """The object of a text that is still being written.

    value: as of the last look that found one; None before. text: all of it so far.
    """

    def __init__(self) -> None:
        # An extra, which only the growing object needs.
        from jiter import from_json

        self._from_json = from_json
        self._pieces: list[str] = []
        self._size = self._looked_at = 0
        self._is_in_string = False
        self._escape = ""
        self.value: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    @property
    def is_due(self) -> bool:
        """Whether the text has grown enough to look again."""
        return self._size - self._looked_at > self._looked_at // _GROWTH

    def add(self, text: str) -> None:
        """Add what was written."""
        self._pieces.append(text)
        self._size += len(text)
        text = self._escape + text
        self._escape = ""
        for found in _QUOTE_OR_ESCAPE.findall(text):
            if found == '"':
                self._is_in_string = not self._is_in_string
            elif found == "\\":
                self._escape = found

    def look(self) -> bool:
        """Read the object as it is now; return whether it has changed."""
        self._looked_at = self._size
        found = self._read()
        if found is None or found == self.value:
            return False
        self.value = found
        return True

    def _read(self) -> dict[str, Any] | None:
        data = self.text.encode()
        opening = _OPENING.match(data)
        if opening is None:
            return None
        data = data[opening.end() :]
        if not self._is_in_string:
            data = _without_half_number(data)
        try:
            found = self._from_json(
                data, partial_mode="trailing-strings", catch_duplicate_keys=True, allow_inf_nan=False
            )
        except ValueError:
            # It is no JSON, or ends within an escape: the last good value stays.
            return None
        return found if isinstance(found, dict) else None


def _without_half_number(data: bytes) -> bytes:
    """Return JSON without a number at its end, which may go on."""
    before = data.rstrip(_IN_NUMBERS)
    # The last letter of `true` and `false` is one of a number's, too.
    return before if data[len(before) : len(before) + 1] in _NUMBERS_BEGIN else data
