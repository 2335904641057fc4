"""What a provider's error says in its own words: its type, code and parameter, which may be logged, and its message.

Errors come in many shapes, and gateways wrap them in others.
"""

from __future__ import annotations

import re
from typing import Any

MESSAGE_KEYS = ("message", "detail", "msg", "error_msg", "status_msg", "error_description")
# How much of an error is searched, in code points: all its messages, and each of its words.
_MAX_MESSAGE = 4_000
_MAX_WORD = 100
# Of a path to a parameter, in steps.
_MAX_PATH = 10
# Of each fact, the keys under which servers send it. `loc`: FastAPI, of which many servers are made.
_FACTS = {"type": ("type", "error_type", "status"), "code": ("code", "error_code"), "param": ("param", "loc")}
# `unsupported_value`, `messages[0].content`, `response_format.json_schema`: words of the API, no sentence of a user.
_FACT = re.compile(r"[A-Za-z0-9_.:/\[\]-]{1,100}")
# Tells nothing.
_EMPTY_FACTS = ("error", "None", "null")


def facts_of(error: Any) -> str:
    """Return the error's type, code and parameter for the log, such as "type invalid_request_error, param temperature".

    Anything else than a word of an API is left out: a server may put what a user wrote anywhere.
    """
    facts = {name: _fact(error, keys) for name, keys in _FACTS.items()}
    # Some have the HTTP status in place of a type.
    return ", ".join(
        f"{name} {fact}" for name, fact in facts.items() if fact and not (name == "type" and fact.isdecimal())
    )


def message_of(error: Any) -> str:
    """Return the error's message in one line. It may quote what users wrote."""
    found: list[Any] = [layer for layer in layers(error) if isinstance(layer, str)]
    found += [layer.get(key) for layer in layers(error) if isinstance(layer, dict) for key in MESSAGE_KEYS]
    texts = (" ".join(text_in(item).split()) for item in found)
    return " ".join(filter(None, dict.fromkeys(texts)))


def _fact(error: Any, keys: tuple[str, ...]) -> str:
    """Return the first of these in the error, from the innermost layer on; "" for none."""
    for layer in reversed([*layers(error), *_details(error)]):
        for key in keys if isinstance(layer, dict) else ():
            text = _joined(layer.get(key))
            if _FACT.fullmatch(text) and text not in _EMPTY_FACTS:
                return text
    return ""


def _joined(value: Any) -> str:
    """Return a fact as text, of any length. FastAPI's is a path, such as `["body", "messages", 0, "content"]`."""
    if isinstance(value, list):
        return ".".join(map(_joined, value[:_MAX_PATH])) if not any(isinstance(item, list) for item in value) else ""
    return value if isinstance(value, str) else word_of(value)


def _details(error: Any) -> list[Any]:
    """Return the first of the errors that FastAPI lists."""
    details = error.get("detail") if isinstance(error, dict) else None
    return details[:1] if isinstance(details, list) else []


def layers(error: Any) -> list[Any]:
    """Return an error and the errors inside it, which gateways wrap in several ways."""
    if isinstance(error, list):
        error = error[0] if error else None  # Gemini sends a list.
    layers = [error]
    if isinstance(error, dict):
        inner = error.get("error", error)
        layers += [inner] if inner is not error else []
        if isinstance(inner, dict):
            metadata = inner.get("metadata")  # OpenRouter: the body of the provider behind it.
            layers += [inner.get("innererror"), inner.get("details"), error.get("base_resp")]
            layers.append(metadata.get("raw") if isinstance(metadata, dict) else None)
    return layers


def word_of(value: Any) -> str:
    """Return a type or a code as text, "" for anything else."""
    if isinstance(value, int) and abs(value) < 10**_MAX_WORD:
        return str(value)
    return value[:_MAX_WORD] if isinstance(value, str) else ""


def text_in(value: Any) -> str:
    """Return the text in a value of any shape, as much as is searched. Without recursion: it may be nested deeply."""
    texts: list[str] = []
    room, left = _MAX_MESSAGE, [value]
    while left and room > 0:
        item = left.pop()
        if isinstance(item, str):
            texts.append(item[:room])
            room -= len(item)
        elif isinstance(item, dict | list):
            left += reversed(list(item.values()) if isinstance(item, dict) else item)
    return " ".join(texts)
