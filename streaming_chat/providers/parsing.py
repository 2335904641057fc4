"""Parses the JSON that a provider sends, and limits its sizes."""

from __future__ import annotations

import json
import re
from typing import Any

from streaming_chat.protocol.events import PART_WEIGHT, TOOL_CALL, Event
from streaming_chat.protocol.storable_text import storable

from .base import Usage, longest_reply

try:
    from jiter import from_json
except ImportError:  # Both SDKs depend on it; without one there is nothing to parse.
    from_json = json.loads

# Of a request or a tool call, in characters; some gateways put whole traces there.
MAX_ID = 255
# Of a tool's name, in characters.
MAX_NAME = 255
# The largest number that the column can hold.
MAX_TOKENS_COUNTED = 2**31 - 1
_NUMBER = re.compile(r"[0-9]{1,10}")
# Data that is no JSON, and no part of it either.
_WORDS = re.compile(rb'[^{}"]*')
# How often the arguments of a call may be looked through, while they grow, to see whether they are complete.
_LOOKS = 8


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
    return [value] if isinstance(value, dict) else objects_in(value)


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; none for another value."""
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
    pairs = zip(usage or Usage(), Usage(*counts), strict=True)
    later = Usage(*(new if new or old is None else old for old, new in pairs))
    return None if later == Usage() else later


class ToolCall:
    """One tool call, as far as it has been received.

    initial: its arguments if no piece of them follows. is_hosted: the provider runs the tool itself.
    """

    def __init__(self, id: str = "", name: str = "", initial: str = "", *, is_hosted: bool = False) -> None:
        self.is_hosted = is_hosted
        self.id = id[:MAX_ID]
        self.name = name[:MAX_NAME]
        self.size = 0
        self._initial = initial
        self._pieces: list[str] = []
        # How many characters have been looked through.
        self._looked = 0

    @property
    def arguments(self) -> str:
        """The arguments, as JSON text."""
        return "".join(self._pieces) or self._initial

    @property
    def weight(self) -> int:
        """The weight of its event."""
        return PART_WEIGHT + len(self.id) + len(self.name) + max(self.size, len(self._initial))

    def add(self, piece: str) -> None:
        """Add a piece of the arguments."""
        if piece:
            self.size += len(piece)
            self._pieces.append(piece)

    def has_all_arguments(self) -> bool:
        """Return whether the arguments are complete. Arguments that were looked through too often count as incomplete."""
        # Otherwise, each of many small pieces would have all before it looked through.
        if self._looked > _LOOKS * self.size:
            return False
        self._looked += self.size
        return is_json(self.arguments)

    def event(self, *, complete: bool) -> Event:
        """Return the call as an event; no arguments are an empty object."""
        arguments = self.arguments or "{}"
        whole = complete and is_json(arguments)
        call = {"id": self.id, "name": self.name, "arguments": arguments, "complete": whole}
        return Event(TOOL_CALL, {**call, "runs": "provider"} if self.is_hosted else call)


class HeldCalls:
    """The tool calls that a stream holds back until they are complete, by the provider's number."""

    def __init__(self) -> None:
        self._calls: dict[Any, ToolCall] = {}
        self._weight = 0
        self._longest = longest_reply()

    @property
    def are_too_long(self) -> bool:
        """Whether they are longer than a reply may be: then the stream returns them as they are."""
        return self._weight > self._longest

    def get(self, number: Any) -> ToolCall | None:
        return self._calls.get(number)

    def begin(self, number: Any, call: ToolCall) -> ToolCall:
        """Hold a call; one of the same number is forgotten."""
        if (replaced := self._calls.get(number)) is not None:
            self._weight -= replaced.weight
        self._calls[number] = call
        self._weight += call.weight
        return call

    def add(self, call: ToolCall, *, id: str = "", name: str = "", arguments: str = "") -> None:
        """Add what a delta contains to a call that is held: an id if it has none, pieces of the name and the arguments."""
        before = call.weight
        call.id = call.id or id
        call.name = (call.name + name)[:MAX_NAME]
        call.add(arguments)
        self._weight += call.weight - before

    def end(self, number: Any) -> list[Event]:
        """Return the complete call of this number as an event, and forget it; nothing if there is none."""
        call = self._calls.pop(number, None)
        if call is None:
            return []
        self._weight -= call.weight
        return [call.event(complete=True)]

    def pop(self, *, complete: bool) -> list[Event]:
        """Return all calls as events, and forget them."""
        calls, self._calls, self._weight = self._calls, {}, 0
        return [call.event(complete=complete) for call in calls.values()]


def is_json(text: str) -> bool:
    """Return whether this is one complete JSON value."""
    try:
        parse(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return True
