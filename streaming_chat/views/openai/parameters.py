"""The parameters of a chat completion's request. What is not here is refused by its name.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from typing import Any

from streaming_chat.providers.model_options import EFFORTS
from streaming_chat.views.api import parsing

from .transcripts import transcript

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TOOLS = 128
_MAX_STOPS = 4
_FUNCTION = {
    "type": "object",
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": f"^{_NAME.pattern}$"}},
            "required": ["name"],
        },
    },
    "required": ["type", "function"],
}


def _number(least: float, most: float) -> parsing.Check:
    @parsing.check(type="number", minimum=least, maximum=most)
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"Must be a number from {least:g} to {most:g}.")
        return value

    return check


def _whole_number(least: int) -> parsing.Check:
    @parsing.check(type="integer", minimum=least)
    def check(value: Any) -> int:
        if type(value) is not int or value < least:
            raise ValueError(f"Must be a whole number of at least {least}.")
        return value

    return check


@parsing.check(type="object")
def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("Must be an object.")
    return value


@parsing.check(
    anyOf=[
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _MAX_STOPS},
    ]
)
def _stops(value: Any) -> Any:
    texts = value if isinstance(value, list) else [value]
    if not 0 < len(texts) <= _MAX_STOPS or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"Must be a string, or a list of at most {_MAX_STOPS}.")
    return value


@parsing.check(
    type="object",
    properties={"include_usage": {"type": "boolean"}, "include_obfuscation": {"type": "boolean"}},
    additionalProperties=False,
)
def _stream_options(value: Any) -> bool:
    """Return whether the usage was asked for."""
    options = _object(value)
    for name, option in options.items():
        if name not in ("include_usage", "include_obfuscation") or not isinstance(option, bool):
            raise ValueError("May have include_usage and include_obfuscation, each true or false.")
    return options.get("include_usage", False)


@parsing.check(type="array", items=_FUNCTION, minItems=1, maxItems=_MAX_TOOLS)
def _tools(value: Any) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_TOOLS:
        raise ValueError(f"Must be a list of 1 to {_MAX_TOOLS} tools.")
    for tool in value:
        if not isinstance(tool, dict) or tool.get("type") != "function" or not _is_function(tool.get("function")):
            raise ValueError(
                'Each tool must be {"type": "function", "function": {"name", "description", "parameters"}}.'
            )
    return value


def _is_function(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and bool(_NAME.fullmatch(value["name"]))


@parsing.check(anyOf=[{"enum": ["none", "auto", "required"]}, _FUNCTION])
def _tool_choice(value: Any) -> Any:
    if isinstance(value, str) and value in ("none", "auto", "required"):
        return value
    if not isinstance(value, dict) or value.get("type") != "function" or not _is_function(value.get("function")):
        raise ValueError('Must be "none", "auto", "required", or the name of a function as an object.')
    return value


# Those of the model, which the site lets clients set or not: CLIENT_PARAMETERS.
OF_THE_MODEL: dict[str, parsing.Check] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "seed": _whole_number(-(2**63)),
    "stop": _stops,
    "logit_bias": _object,
    "response_format": _object,
}
OF_TOOLS: dict[str, parsing.Check] = {"tool_choice": _tool_choice, "parallel_tool_calls": parsing.boolean}
_OTHERS: dict[str, parsing.Check] = {
    "model": parsing.text(255, shortest=1),
    "messages": transcript,
    "stream": parsing.boolean,
    "stream_options": _stream_options,
    "n": parsing.one_of(1),
    "max_completion_tokens": _whole_number(1),
    "max_tokens": _whole_number(1),
    "reasoning_effort": parsing.one_of(*EFFORTS),
    "tools": _tools,
    # The client's own id of a person, which tells the chats of two people apart.
    "user": parsing.text(512),
    "store": parsing.one_of(False),
}
_REQUIRED = ("model", "messages")


def fields() -> parsing.Fields:
    """Return the parameters. Null is what a client sends for one that it does not set."""
    checks = _OTHERS | OF_TOOLS | OF_THE_MODEL
    return parsing.Fields(
        {name: check if name in _REQUIRED else parsing.optional(check) for name, check in checks.items()}, _REQUIRED
    )
