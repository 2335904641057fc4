"""What a site sets for a model: how it is shown, and how it is asked. The values of STREAMING_CHAT_MODEL_OPTIONS.

A send reads the options of one model. Therefore each setting's value is turned into objects once, and the objects are kept
as long as that value is in use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from streaming_chat.conf import FLAG, STRINGS, conf, whole_number

from .model_names import entry_of, is_model_name
from .thinking import UNOPENED

# From none to the most. Each provider maps them to what its API knows.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Room for the reasoning and the answer of current models.
MAX_OUTPUT_TOKENS = 16_384
CACHES = ("auto", "5m", "1h", None)
# What the providers themselves put into a request, in any of the APIs. They depend on each other and on the app: without
# the stream there is no reply, and the quota reserves the maximum length.
OUR_PARAMETERS = frozenset(
    {
        *("model", "messages", "input", "stream", "stream_options", "n"),
        *("system", "instructions", "tools", "tool_choice", "functions", "function_call"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
        *("store", "include", "background", "conversation", "previous_response_id"),
        *("safety_identifier", "prompt_cache_key", "continue_final_message", "add_generation_prompt"),
    }
)
# What clients may set if the site lets them.
CLIENT_PARAMETERS = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty"),
    *("seed", "stop", "logit_bias", "response_format"),
)
# aiohttp sends the first three itself, and a compressed stream would arrive in blocks.
OUR_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "content-type", "accept-encoding"})

# A token and a field value: RFC 9110, 5.6.2 and 5.5.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
# Of the models that clients may choose under a wildcard, so many are kept.
_KEPT = 1_024


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ModelOptions:
    """How one model is shown and asked. Its repr is empty, since parameters and headers may have a secret.

    label: The name that people see in place of `alias:model`.
    description: One sentence for the choice of a model.
    effort: How much the model thinks: `"none"`, `"minimal"`, `"low"`, `"medium"`, `"high"`, `"xhigh"` or `"max"`. The
        provider sends the nearest that the API and the model know. None: nothing is sent, and the API's default applies.
    efforts: The efforts that a client may choose for a reply, in the order in which they are shown.
    show_reasoning: Ask the API for its reasoning, or a summary of it, where it sends none by itself. Chat completions have
        no common parameter for this: use `parameters`.
    max_output_tokens: The most tokens that a reply may have, including reasoning. It is reserved in the quota. Default: that
        of the provider.
    parameters: Further keys of the request's body, such as `{"temperature": 0.2}`. A dict is merged into ours.
    client_parameters: The parameters that a client of `v1/chat/completions` may set, out of `temperature`, `top_p`,
        `frequency_penalty`, `presence_penalty`, `seed`, `stop`, `logit_bias` and `response_format`. They replace those of
        `parameters`. Name only what the model and its API know: they are sent as they are.
    headers: Further headers of the request.
    cache: How long Anthropic keeps the prompt for the next message: `"5m"`, `"1h"` or None, not at all. `"auto"`: five
        minutes at Anthropic's own address, otherwise not at all.
    fallback: The models that are asked in its place, in this order, while it cannot be reached, as `alias:model`. See
        [Failover](providers.md#failover).
    tools: The toolboxes of `STREAMING_CHAT_TOOLS` whose tools the model may call, such as `["shop"]`. See [Tools](tools.md).
    think_tags: Take text between tags such as `<think>`, at the beginning of a reply, as reasoning. `"unopened"`: the
        model's chat template writes the opening tag into the prompt, so the reply is reasoning up to the closing tag.
    """

    label: str = ""
    description: str = ""
    effort: str | None = None
    efforts: Sequence[str] = ()
    show_reasoning: bool = False
    max_output_tokens: int = MAX_OUTPUT_TOKENS
    parameters: Mapping[str, Any] = field(default_factory=dict)
    client_parameters: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = "auto"
    fallback: Sequence[str] = ()
    tools: Sequence[str] = ()
    think_tags: bool | str = True

    def __repr__(self) -> str:
        return "ModelOptions()"

    def apply_parameters(self, body: dict[str, Any]) -> dict[str, Any]:
        """Merge the site's parameters into a request's body, last, and return it."""
        for name, value in self.parameters.items():
            ours = body.get(name)
            body[name] = {**ours, **value} if isinstance(ours, dict) and isinstance(value, dict) else value
        return body


def options_of(model: str, max_output_tokens: int = MAX_OUTPUT_TOKENS) -> ModelOptions:
    """Return the options of `alias:model`. max_output_tokens: the provider's, if the options do not name another.

    Raises ImproperlyConfigured for options that check_model_options reports.
    """
    global _resolver  # noqa: PLW0603  (one object, replaced as a whole)
    table = conf.STREAMING_CHAT_MODEL_OPTIONS
    if _resolver.table is not table:
        _resolver = _Resolver(table)
    return _resolver.options_of(model, max_output_tokens)


def label_of(model: str) -> str:
    """Return the name of `alias:model` for people."""
    return str(options_of(model).label) or model


class _Resolver:
    """The options of one value of the setting."""

    def __init__(self, table: Mapping[str, Mapping[str, Any]]) -> None:
        self.table = table
        self.options_of = lru_cache(_KEPT)(self._options_of)

    def _options_of(self, model: str, max_output_tokens: int) -> ModelOptions:
        entry = entry_of(self.table, model, {})
        if problem := problem_with(entry):
            raise ImproperlyConfigured(f"STREAMING_CHAT_MODEL_OPTIONS of {model}: {problem}.")
        return ModelOptions(**{"max_output_tokens": max_output_tokens, **entry})


_resolver = _Resolver({})


class _Rule(NamedTuple):
    """What an option may be. wanted: in words, after "must be"."""

    wanted: str
    accepts: Callable[[Any], bool]


def problem_with(entry: Any) -> str:
    """Return why this cannot be the options of a model, "" if it can."""
    if not isinstance(entry, Mapping):
        return f"it must be a dict, got {type(entry).__name__}"
    if unknown := [name for name in entry if name not in _RULES]:
        return f"it has the unknown key {unknown[0]!r:.60}; the keys are {', '.join(_RULES)}"
    for name, value in entry.items():
        if not _RULES[name].accepts(value):
            return f"{name} must be {_RULES[name].wanted}"
    return _problem_with_parameters(entry.get("parameters", {})) or _problem_with_headers(entry.get("headers", {}))


def _problem_with_parameters(parameters: Mapping[str, Any]) -> str:
    if ours := sorted(OUR_PARAMETERS & parameters.keys()):
        return f"parameters must not have {', '.join(ours)}, which the provider sends itself"
    try:
        json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError):
        return "parameters must be JSON"
    return ""


def _problem_with_headers(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            # Not the value, which may be a secret.
            return f"headers has {name!r:.60}, whose name or value is not allowed in a header"
        if name.lower() in OUR_HEADERS:
            return f"headers must not have {name}, which the provider sends itself"
    return ""


def _is_effort(value: Any) -> bool:
    return isinstance(value, str) and value in EFFORTS


def _is_list_of_efforts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_effort, value)) and len(set(value)) == len(value)


def _are_client_parameters(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(name in CLIENT_PARAMETERS for name in value)


def _is_dict_of(value_type: type) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(name, str) and isinstance(item, value_type) for name, item in value.items()
        )

    return accepts


def _is_list_of_models(value: Any) -> bool:
    return STRINGS.accepts(value) and all(is_model_name(name) and not name.endswith(":*") for name in value)


def _is_list_of_different_strings(value: Any) -> bool:
    return STRINGS.accepts(value) and len(set(value)) == len(value)


_EFFORT_WORDS = ", ".join(EFFORTS)
_TEXT = _Rule("a string, which may be translated lazily", lambda value: isinstance(value, str | Promise))
_MAX_OUTPUT = whole_number("tokens")
_RULES = {
    "label": _TEXT,
    "description": _TEXT,
    "effort": _Rule(f"None or one of {_EFFORT_WORDS}", lambda value: value is None or _is_effort(value)),
    "efforts": _Rule(f"a list of different ones of {_EFFORT_WORDS}", _is_list_of_efforts),
    "show_reasoning": _Rule(FLAG.wanted, FLAG.accepts),
    "max_output_tokens": _Rule(_MAX_OUTPUT.wanted, _MAX_OUTPUT.accepts),
    "parameters": _Rule("a dict with strings as keys", _is_dict_of(object)),
    "client_parameters": _Rule(f"a list of {', '.join(CLIENT_PARAMETERS)}", _are_client_parameters),
    "headers": _Rule("a dict of strings", _is_dict_of(str)),
    "cache": _Rule('"auto", "5m", "1h" or None', lambda value: value in CACHES),
    "fallback": _Rule("a list of models, as alias:model", _is_list_of_models),
    "tools": _Rule(f"{STRINGS.wanted}, each once", _is_list_of_different_strings),
    "think_tags": _Rule(
        f'True, False or "{UNOPENED}"',
        lambda value: FLAG.accepts(value) or (isinstance(value, str) and value == UNOPENED),
    ),
}
