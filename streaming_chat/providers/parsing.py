"""What comes from a provider in JSON, made storable and bounded."""

from __future__ import annotations

import json
from typing import Any

from streaming_chat.protocol.events import TOOL_CALL, Event
from streaming_chat.protocol.text import storable

try:
    from jiter import from_json
except ImportError:  # It comes with either SDK; without one there is nothing to parse.
    from_json = json.loads

# Longest call id, in characters; some gateways put whole traces there.
MAX_REQUEST_ID = 255
MAX_TOKENS_COUNTED = 2**31 - 1


def parse(data: bytes) -> Any:
    """Return the value of JSON in UTF-8. Raises ValueError.

    jiter takes a third of json's time, and refuses lone surrogates ("\\ud83d"), which are repaired further
    down.
    """
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data.decode())
        except RecursionError:
            raise ValueError("nested too deeply") from None


def clean(value: Any, length: int) -> str:
    """Return a provider's short string, storable and not longer than `length`; "" for anything else."""
    return storable(value)[:length] if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """Return a number of tokens, or None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS_COUNTED:
        return value
    return None


def tool_call(id: str, name: str, arguments: str, *, complete: bool) -> Event:
    """Return the event of a tool call; no arguments are an empty object."""
    return Event(
        TOOL_CALL,
        {"id": id, "name": name, "arguments": arguments or "{}", "complete": complete and is_json(arguments or "{}")},
    )


def is_json(text: str) -> bool:
    """Return whether this is whole JSON."""
    try:
        parse(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return True
