"""The turns and tools of a prompt in the form of Anthropic's messages API.

Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from streaming_chat.protocol.events import is_blank
from streaming_chat.protocol.tool_calls import OK

from .parsing import parse
from .prompt import Part, Prompt, Turn
from .tools import Tools
from .turns import in_pairs

_CHOICES = {"": "auto", "auto": "auto", "none": "none", "required": "any"}
# The ids and names of other providers may have more, of which a model that is asked later knows nothing.
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages of these turns, one for each."""
    return [{"role": turn.role, "content": _content(turn)} for turn in in_pairs(turns)]


def _content(turn: Turn) -> str | list[dict[str, Any]]:
    if not (turn.calls or turn.results):
        return turn.text
    results = [_result(part) for part in turn.results]
    calls = [
        {
            "type": "tool_use",
            "id": _allowed(part["id"]),
            "name": _allowed(part["name"]),
            "input": _input(part["arguments"]),
        }
        for part in turn.calls
    ]
    text = turn.text_beside_results
    content = [*results, *([] if is_blank(text) else [{"type": "text", "text": text}]), *calls]
    for item in turn.state:
        # Where it was: the API refuses thoughts in another order.
        content.insert(item["index"], item["block"])
    return content


def _result(part: Part) -> dict[str, Any]:
    result = {"type": "tool_result", "tool_use_id": _allowed(part["id"]), "content": part["text"]}
    return result if part.get("status", OK) == OK else {**result, "is_error": True}


def _allowed(text: str) -> str:
    return _NOT_ALLOWED.sub("_", text)


def _input(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as the API wants them: an object."""
    try:
        value = parse(arguments.encode("utf-8", "surrogatepass") or b"{}")
        json.dumps(value, allow_nan=False)
    except ValueError:
        value = None
    # The key that the API's documentation recommends for what a model has not completed.
    return value if isinstance(value, dict) else {"INVALID_JSON": arguments}


def tool_parameters(prompt: Prompt) -> dict[str, Any]:
    """Return what a request says of the tools of a client."""
    tools = prompt.tools or _called(prompt.turns)
    if tools is None:
        return {}
    parameters: dict[str, Any] = {"tools": [_tool(**each) for each in tools.functions]}
    if tools.choice or tools.function or tools.parallel is not None:
        parameters["tool_choice"] = _choice(tools)
    return parameters


def _called(turns: Sequence[Turn]) -> Tools | None:
    """Return the tools of earlier calls, None without any. The API requires them also where no more can be called."""
    names = dict.fromkeys(_allowed(part["name"]) for turn in in_pairs(turns) for part in turn.calls)
    return Tools(tuple({"name": name} for name in names), choice="none") if names else None


def _tool(
    name: str, description: str = "", parameters: dict[str, Any] | None = None, strict: bool = False
) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": name, "input_schema": {"type": "object", **(parameters or {})}}
    tool |= {"description": description} if description else {}
    return tool | ({"strict": True} if strict else {})


def _choice(tools: Tools) -> dict[str, Any]:
    choice: dict[str, Any] = {"type": _CHOICES[tools.choice]}
    if tools.function:
        choice = {"type": "tool", "name": tools.function}
    if tools.parallel is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice
