"""The turns and tools of a prompt in the form of chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streaming_chat.protocol.openai_objects import tool_call

from .prompt import Turn
from .tools import Tools
from .turns import in_pairs


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages of these turns: one for each turn, and one for each result of a tool."""
    return [message for turn in in_pairs(turns) for message in _messages(turn)]


def _messages(turn: Turn) -> list[dict[str, Any]]:
    if turn.calls:
        return [{"role": turn.role, "content": turn.text or None, "tool_calls": list(map(tool_call, turn.calls))}]
    text = turn.text_beside_results
    results = [{"role": "tool", "tool_call_id": part["id"], "content": part["text"]} for part in turn.results]
    return [*results, {"role": turn.role, "content": text}] if text else results


def tool_parameters(tools: Tools) -> dict[str, Any]:
    """Return what a request says of the tools of a client."""
    parameters: dict[str, Any] = {"tools": [{"type": "function", "function": dict(each)} for each in tools.functions]}
    if tools.function:
        parameters["tool_choice"] = {"type": "function", "function": {"name": tools.function}}
    elif tools.choice:
        parameters["tool_choice"] = tools.choice
    if tools.parallel is not None:
        parameters["parallel_tool_calls"] = tools.parallel
    return parameters
