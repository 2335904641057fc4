"""The turns of a prompt as messages of chat completions, with the tool calls of a client and their results.

The API refuses a call without a result after it, and a result without its call before it. So a call without a result is
left out, and the text of such a result is the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from streaming_chat.protocol.events import TEXT, TOOL_CALL, TOOL_RESULT
from streaming_chat.protocol.openai_objects import tool_call

from .prompt import Turn

_NONE = Turn("", "")


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages of these turns."""
    messages: list[dict[str, Any]] = []
    for before, turn, after in _with_neighbours(turns):
        if turn.role == "assistant":
            calls = [part for part in _parts(turn, TOOL_CALL) if part["id"] in _ids(after, TOOL_RESULT)]
            messages += _replies(turn, calls)
        else:
            messages += _of_user(turn, _ids(before, TOOL_CALL))
    return messages


def _with_neighbours(turns: Sequence[Turn]) -> list[tuple[Turn, Turn, Turn]]:
    pairs = list(pairwise([_NONE, *turns, _NONE]))
    return [(before, turn, after) for (before, turn), (_turn, after) in pairwise(pairs)]


def _parts(turn: Turn, kind: str) -> list[Any]:
    return [part for part in turn.parts if part["kind"] == kind]


def _ids(turn: Turn, kind: str) -> set[str]:
    return {part["id"] for part in _parts(turn, kind)}


def _replies(turn: Turn, calls: list[Any]) -> list[dict[str, Any]]:
    if calls:
        return [{"role": turn.role, "content": turn.text or None, "tool_calls": [tool_call(part) for part in calls]}]
    return [{"role": turn.role, "content": turn.text}] if turn.text else []


def _of_user(turn: Turn, called: set[str]) -> list[dict[str, Any]]:
    results = [part for part in _parts(turn, TOOL_RESULT) if part["id"] in called]
    others = [part["text"] for part in turn.parts if part["kind"] in (TEXT, TOOL_RESULT) and part not in results]
    messages = [{"role": "tool", "tool_call_id": part["id"], "content": part["text"]} for part in results]
    text = "".join(others)
    return [*messages, {"role": turn.role, "content": text.lstrip("\n") if results else text}] if text else messages
