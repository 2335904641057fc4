"""The turns and tools of a prompt in the form of the Responses API.

Source: https://developers.openai.com/api/docs/guides/function-calling
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .prompt import Turn
from .tools import Tools
from .turns import in_pairs

_CONTENT_TYPES = {"user": "input_text", "assistant": "output_text"}


def items_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the items of these turns: messages, calls of functions and what the functions returned."""
    return [item for turn in in_pairs(turns) for item in _items(turn)]


def _items(turn: Turn) -> list[dict[str, Any]]:
    text = turn.text_beside_results
    results = [{"type": "function_call_output", "call_id": part["id"], "output": part["text"]} for part in turn.results]
    message = {"role": turn.role, "content": [{"type": _CONTENT_TYPES[turn.role], "text": text}]}
    calls = [
        # Not the `id` of the item: the API would then want the reasoning that came before it.
        {"type": "function_call", "call_id": part["id"], "name": part["name"], "arguments": part["arguments"]}
        for part in turn.calls
    ]
    messages = [message] if text else []
    if any(item.get("type") == "reasoning" for item in turn.state):
        return [*_with_state(turn, messages, calls)]
    return [*results, *messages, *calls]


def _with_state(turn: Turn, messages: list[dict[str, Any]], calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the items in the order in which they came: reasoning, then what followed from it, with the ids of the items."""
    for item in turn.state:
        if item.get("type") == "function_call" and calls:
            yield from messages
            messages = []
            yield {**({"id": item["id"]} if "id" in item else {}), **calls.pop(0)}
        elif item.get("type") == "reasoning":
            yield dict(item)
    yield from [*messages, *calls]


def tool_parameters(tools: Tools) -> dict[str, Any]:
    """Return what a request says of the tools of a client."""
    parameters: dict[str, Any] = {
        # Both must be there; unlike in chat completions, strict is the default.
        "tools": [{"type": "function", "parameters": None, "strict": False, **each} for each in tools.functions]
    }
    if tools.function:
        parameters["tool_choice"] = {"type": "function", "name": tools.function}
    elif tools.choice:
        parameters["tool_choice"] = tools.choice
    if tools.parallel is not None:
        parameters["parallel_tool_calls"] = tools.parallel
    return parameters
