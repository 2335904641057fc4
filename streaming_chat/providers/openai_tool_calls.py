"""Assembles the tool calls of chat completions, which compatible servers divide in many ways."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .parsing import MAX_ID, MAX_NAME, HeldCalls, ToolCall, clean, is_json


class ToolCalls(HeldCalls):
    """Assembles tool calls from their deltas."""

    def __init__(self) -> None:
        super().__init__()
        # Numbers: of the call of the last delta, and of the next call that has none.
        self._last: int | float = 0
        self._next: int | float = 0

    def take(self, deltas: Iterable[dict[str, Any]]) -> None:
        """Add the deltas of one chunk, or the calls of a complete message. Raises ValueError."""
        for delta in deltas:
            function = delta.get("function") or {}
            call_id, name = clean(delta.get("id"), MAX_ID), clean(function.get("name"), MAX_NAME)
            call_id = "" if call_id == "null" else call_id  # Mistral sends this for no id.
            call = self._call(delta.get("index"), call_id, name)
            # Servers repeat the id, some the name, some all arguments: each is taken once.
            arguments = _arguments(function)
            self.add(
                call,
                id=call_id,
                name="" if name == call.name else name,
                arguments="" if _is_repeated(arguments, call) else arguments,
            )

    def _call(self, index: Any, id: str, name: str) -> ToolCall:
        """Return the call that a delta belongs to."""
        is_numbered = isinstance(index, int | float)
        number = index if is_numbered else self._last
        if self._begins_another(number, id, name, is_numbered=is_numbered):
            number = self._next
        self._last, self._next = number, max(self._next, number + 1)
        return self.get(number) or self.begin(number, ToolCall())

    def _begins_another(self, number: float, id: str, name: str, *, is_numbered: bool) -> bool:
        """Return whether this delta begins a call although its number is in use, or is missing.

        Gemini numbers every call 0, each complete and with its own id. Old vLLM sends a new id with each delta, without a
        name.
        """
        known = self.get(number)
        if known is None or not name or id == known.id != "" or (is_numbered and not id):
            return False
        return known.has_all_arguments()


def _arguments(function: dict[str, Any]) -> str:
    arguments = function.get("arguments")
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _is_repeated(arguments: str, call: ToolCall) -> bool:
    return len(arguments) == call.size != 0 and arguments == call.arguments and is_json(arguments)
