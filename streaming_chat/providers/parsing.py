"""Parses the JSON that a provider sends, and limits its sizes."""

from __future__ import annotations

import json
import re
from typing import Any

from streaming_chat.protocol.events import TOOL_CALL, Event
from streaming_chat.protocol.storable_text import storable

from .base import Usage

try:
    from jiter import from_json
except ImportError:  # Both SDKs depend on it; without one there is nothing to parse.
    from_json = json.loads

# In characters; some gateways put whole traces there.
MAX_REQUEST_ID = 255
# The largest number that the column can hold.
MAX_TOKENS_COUNTED = 2**31 - 1
_NUMBER = re.compile(r"[0-9]{1,10}")
# Data that is no JSON, and no part of it either.
_WORDS = re.compile(rb'[^{}"]*')
# Most characters of one call's arguments: nothing else limits them while they are received.
MAX_ARGUMENTS = 1_000_000


def parse(data: bytes) -> Any:
    """Return the value of JSON in UTF-8. Raises ValueError.

    jiter takes a third of json's time, and rejects lone surrogates ("\\ud83d"), which protocol/text.py repairs.
    """
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data.decode())
        except RecursionError:
            raise ValueError("nested too deeply") from None


def parse_objects(data: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of one event, which are one as a rule; none for what holds no text. Raises ValueError.

    Some servers send `null`, `ping` or `[END]` between or after the objects.
    """
    if not data:
        return []
    try:
        value = parse(data)
    except ValueError:
        if _WORDS.fullmatch(data):
            return []
        raise
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def clean(value: Any, length: int) -> str:
    """Return a string as it can be stored, cut to `length` characters; "" for anything else."""
    return storable(value)[:length] if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """Return a number of tokens; None if the value is not one."""
    if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS_COUNTED:
        return value
    return None


def merged(usage: Usage | None, *counts: int | None) -> Usage | None:
    """Return the usage with later counts. One that is missing or 0 does not replace an earlier one."""
    pairs = zip(usage or Usage(), counts, strict=True)
    later = Usage(*(new if new or old is None else old for old, new in pairs))
    return None if later == Usage() else later


class ToolCall:
    """One tool call, as far as it has been received. initial: its arguments if no piece of them follows."""

    def __init__(self, id: str = "", name: str = "", initial: str = "") -> None:
        self.id = id
        self.name = name
        self.size = 0
        self._initial = initial
        self._pieces: list[str] = []

    @property
    def arguments(self) -> str:
        """The arguments, as JSON text."""
        return "".join(self._pieces) or self._initial

    def add(self, piece: str) -> None:
        """Add a piece of the arguments. Raises ValueError beyond MAX_ARGUMENTS."""
        self.size += len(piece)
        if self.size > MAX_ARGUMENTS:
            raise ValueError(f"arguments must have at most {MAX_ARGUMENTS} characters, got more.")
        self._pieces.append(piece)

    def event(self, *, complete: bool) -> Event:
        """Return the call as an event; no arguments are an empty object."""
        arguments = self.arguments or "{}"
        whole = complete and is_json(arguments)
        return Event(TOOL_CALL, {"id": self.id, "name": self.name, "arguments": arguments, "complete": whole})


def is_json(text: str) -> bool:
    """Return whether this is one complete JSON value."""
    try:
        parse(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return True
