"""The parameters of a chat completion's request. What is not here is refused by its name.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from typing import Any

from streaming_chat.exceptions import APIError
from streaming_chat.providers.base import Tools
from streaming_chat.providers.model_options import EFFORTS
from streaming_chat.views.api import parsing

from .transcripts import transcript

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TOOLS = 128
_MAX_STOPS = 4
_NAMED: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string", "pattern": f"^{_NAME.pattern}$"}}}
_CHOICE = {
    "type": "object",
    "properties": {"type": {"const": "function"}, "function": {**_NAMED, "required": ["name"]}},
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


# Of a function: what each key may be, besides null.
_KEYS: dict[str, type] = {"name": str, "description": str, "parameters": dict, "strict": bool}
_TYPES = {str: "string", dict: "object", bool: "boolean"}
_PROPERTIES = {name: {"type": [_TYPES[kind], "null"]} for name, kind in _KEYS.items()} | _NAMED["properties"]
_TOOL = {
    "type": "object",
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "properties": _PROPERTIES,
            "required": ["name"],
            "additionalProperties": {"type": "null"},
        },
    },
    "required": ["type", "function"],
}


@parsing.check(type="array", items=_TOOL, minItems=1, maxItems=_MAX_TOOLS)
def _tools(value: Any) -> list[dict[str, Any]]:
    """Return the functions, without keys that are null."""
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_TOOLS:
        raise ValueError(f"Must be a list of 1 to {_MAX_TOOLS} tools.")
    functions = [_function(tool) for tool in value]
    if len({function["name"] for function in functions}) < len(functions):
        raise ValueError("Two tools must not have the same name.")
    return functions


def _function(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type") != "function" or not _has_name(tool.get("function")):
        raise ValueError('Each tool must be {"type": "function", "function": {"name", "description", "parameters"}}.')
    function = {name: value for name, value in tool["function"].items() if value is not None}
    for name, value in function.items():
        if name not in _KEYS:
            raise ValueError(f"A function must not have {name[:64]}.")
        if not isinstance(value, _KEYS[name]):
            raise ValueError(f"The {name} of a function must be of the type {_TYPES[_KEYS[name]]}.")
    return function


def _has_name(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and bool(_NAME.fullmatch(value["name"]))


@parsing.check(anyOf=[{"enum": ["none", "auto", "required"]}, _CHOICE])
def _tool_choice(value: Any) -> Any:
    if isinstance(value, str) and value in ("none", "auto", "required"):
        return value
    if not isinstance(value, dict) or value.get("type") != "function" or not _has_name(value.get("function")):
        raise ValueError('Must be "none", "auto", "required", or the name of a function as an object.')
    return value


def tools_of(body: dict[str, Any]) -> Tools | None:
    """Return the tools of a request, None without any. Raises APIError: 422."""
    if "tools" not in body:
        if named := [name for name in _OF_TOOLS if name in body]:
            raise APIError(422, "invalid", fields={named[0]: "Needs tools."})
        return None
    functions, choice = tuple(body["tools"]), body.get("tool_choice", "")
    function = choice["function"]["name"] if isinstance(choice, dict) else ""
    if function and function not in [each["name"] for each in functions]:
        raise APIError(422, "invalid", fields={"tool_choice": "Must name one of the tools."})
    return Tools(functions, "" if function else choice, function, body.get("parallel_tool_calls"))


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
_OF_TOOLS: dict[str, parsing.Check] = {"tool_choice": _tool_choice, "parallel_tool_calls": parsing.boolean}
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
    checks = _OTHERS | _OF_TOOLS | OF_THE_MODEL
    return parsing.Fields(
        {name: check if name in _REQUIRED else parsing.optional(check) for name, check in checks.items()}, _REQUIRED
    )
