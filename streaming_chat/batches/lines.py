"""The lines of the two files: what is asked, and what came of it. A result has the format of its line.

Either OpenAI's batch format, of which only chat completions with texts are supported, or a plain one:

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-6-luna", "messages": […]}}
    {"id": "a", "prompt": "Hi", "system": "You are brief.", "model": "openai:gpt-6-luna"}

Source: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from streaming_chat.conf import conf
from streaming_chat.exceptions import APIError, error_text
from streaming_chat.protocol.storable_text import storable, storable_value
from streaming_chat.providers import split_model
from streaming_chat.providers.asking import Answer, prompt_of
from streaming_chat.providers.base import Prompt, Provider, Turn
from streaming_chat.providers.model_options import OUR_PARAMETERS

_URL = "/v1/chat/completions"
_PLAIN_KEYS = {"id", "prompt", "messages", "system", "model"}
_MAX_TOKENS = ("max_completion_tokens", "max_tokens")
# What OpenAI calls the ends of a reply; others have the same name there.
_FINISH_REASONS = {"length_cap": "length"}


class Line(NamedTuple):
    """One thing to ask. id: unique in its file. model: `alias:model`. is_openai: whether it has OpenAI's format."""

    id: str
    model: str
    provider: Provider
    prompt: Prompt
    is_openai: bool

    def __repr__(self) -> str:
        return "Line()"


def read_line(text: str, default_model: str) -> Line:
    """Return what a line asks. default_model: of a line without one; its provider has the models without an alias.

    Raises ValueError, which quotes nothing of a prompt.
    """
    try:
        entry = storable_value(json.loads(text))
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(entry, dict):
        raise ValueError(f"it must be an object, got {type(entry).__name__}")
    return _read_openai(entry, default_model) if "body" in entry else _read_plain(entry, default_model)


def id_of(result: Any) -> str:
    """Return the id of a line of either file, as text. Raises ValueError without one."""
    value = result.get("custom_id", result.get("id")) if isinstance(result, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError("it has no id, which must be a text or a whole number")
    return str(value)


def answered(line: Line, answer: Answer, cost: Decimal | None) -> dict[str, Any]:
    """Return the result of an answer."""
    usage = answer.usage._asdict() if answer.usage else None
    if line.is_openai:
        response = {"status_code": 200, "request_id": answer.request_id, "body": _completion(line, answer)}
        return {"id": f"result-{line.id}", "custom_id": line.id, "response": response, "error": None}
    return {
        "id": line.id,
        "model": line.model,
        "text": answer.text,
        "end_reason": answer.end_reason,
        "usage": usage,
        "cost": None if cost is None else str(cost),
    }


def refused(line: Line, code: str) -> dict[str, Any]:
    """Return the result of a prompt that the provider will never answer. code: a key of ERRORS."""
    error = {"code": code, "message": error_text(code)}
    if line.is_openai:
        return {"id": f"result-{line.id}", "custom_id": line.id, "response": None, "error": error}
    return {"id": line.id, "model": line.model, "error": error}


def _read_plain(entry: dict[str, Any], default_model: str) -> Line:
    if unknown := sorted(entry.keys() - _PLAIN_KEYS):
        raise ValueError(f"it has the unknown key {unknown[0]!r:.60}; the keys are {', '.join(sorted(_PLAIN_KEYS))}")
    if ("prompt" in entry) == ("messages" in entry):
        raise ValueError("it must have either `prompt` or `messages`")
    messages = entry["messages"] if "messages" in entry else [{"role": "user", "content": entry["prompt"]}]
    return _line(entry, entry, messages, default_model, is_openai=False)


def _read_openai(entry: dict[str, Any], default_model: str) -> Line:
    body = entry["body"]
    if entry.get("url", _URL) != _URL or not isinstance(body, dict):
        raise ValueError(f"its url must be {_URL}, and its body an object")
    line = _line(entry, body, body.get("messages"), default_model, is_openai=True)
    limits = [body[name] for name in _MAX_TOKENS if name in body]
    parameters = {name: value for name, value in body.items() if name not in ("model", "messages", *_MAX_TOKENS)}
    if parameters.pop("stream", False):
        raise ValueError("its body must not ask for a stream")
    if ours := sorted(OUR_PARAMETERS & parameters.keys()):
        raise ValueError(f"its body has {ours[0]}, which is not supported")
    options = line.prompt.options
    if not all(isinstance(limit, int) and limit > 0 for limit in limits):
        raise ValueError("its maximum number of tokens must be 1 or more")
    options = replace(
        options,
        parameters={**options.parameters, **parameters},
        max_output_tokens=limits[0] if limits else options.max_output_tokens,
    )
    return line._replace(prompt=line.prompt.replace(options=options))


def _line(
    entry: dict[str, Any], asked: Mapping[str, Any], messages: Any, default_model: str, *, is_openai: bool
) -> Line:
    line_id = id_of(entry)
    model = _full_name(asked.get("model", ""), default_model)
    system, turns = _turns(messages)
    if not isinstance(asked.get("system", ""), str):
        raise ValueError("its system must be a text")
    system = "\n\n".join(text for text in (asked.get("system", ""), system) if text)
    try:
        provider, prompt = prompt_of(model, "", system)
    except APIError as error:
        raise ValueError(" ".join(error.field_texts)) from None
    return Line(line_id, model, provider, prompt.replace(turns=turns), is_openai)


def _full_name(model: Any, default_model: str) -> str:
    if not isinstance(model, str):
        raise ValueError("its model must be a text")
    if not model:
        return default_model
    alias, name = split_model(model)
    if alias in conf.STREAMING_CHAT_PROVIDERS and name:
        return model
    return f"{split_model(default_model)[0]}:{model}"


def _turns(messages: Any) -> tuple[str, tuple[Turn, ...]]:
    """Return the system prompt in a list of messages, and the turns, of which two of one role are joined."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("its messages must be a list that is not empty")
    system: list[str] = []
    turns: list[Turn] = []
    for message in messages:
        role, text = _role_and_text(message)
        if role in ("system", "developer"):
            system.append(text)
        elif turns and turns[-1].role == role:
            turns[-1] = turns[-1].followed_by(Turn(role, text))
        else:
            turns.append(Turn(role, text))
    if not turns or turns[-1].role != "user" or not turns[-1].text.strip():
        raise ValueError("its last message must be a user's, with a text")
    return "\n\n".join(system), tuple(turns)


def _role_and_text(message: Any) -> tuple[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "developer", "user", "assistant"):
        raise ValueError("the role of each message must be system, developer, user or assistant")
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise ValueError("the content of each message must be a text, or parts of type text")
    return role, storable(content)


def _completion(line: Line, answer: Answer) -> dict[str, Any]:
    """Return an answer as an object of the chat completions API."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "finish_reason": _FINISH_REASONS.get(answer.end_reason, answer.end_reason),
    }
    completion: dict[str, Any] = {"object": "chat.completion", "model": line.prompt.model, "choices": [choice]}
    if usage := answer.usage:
        counts = (usage.input_tokens or 0, usage.output_tokens or 0)
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        completion["usage"] = dict(zip(names, (*counts, sum(counts)), strict=True))
    return completion
