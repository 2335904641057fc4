"""How each API is told the object that a reply must be, and the instruction for models whose API has no word for it.

OpenAI's strict schemas name every property as required, allow no other and know no `default` and `oneOf`; Anthropic's allow
no other property and no bounds. What a schema cannot say goes into its descriptions, or is left to the validation.

Sources: https://developers.openai.com/api/docs/guides/structured-outputs and
https://platform.claude.com/docs/en/build-with-claude/structured-outputs, as of November 2026; the transformations are those
of the SDKs (openai/lib/_pydantic.py, anthropic/lib/_parse/_transform.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from streaming_chat.outputs import Output

Schema = dict[str, Any]

_KEPT = 256
# Keys whose values are schemas: by name, in a list, or one.
_NAMED = ("properties", "$defs")
_LISTED = ("anyOf", "allOf")
# The bounds that Anthropic's API knows, by type.
_CLAUDE_KEYS = {"string": {"format"}, "array": {"items", "minItems"}, "object": {"properties", "required"}}
_CLAUDE_ALWAYS = {"type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "title", "description"}
_CLAUDE_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
# For the model, in English whatever the language of the chat.
_INSTRUCTION = """\
Reply with one JSON object and nothing else: no explanation, no comment and no code block. The object must be valid for \
this JSON schema:

{schema}\
"""


@lru_cache(_KEPT)
def instruction(output: Output) -> str:
    """Return what tells a model in words to write the object."""
    return _INSTRUCTION.format(schema=json.dumps(output.schema, ensure_ascii=False))


@lru_cache(_KEPT)
def openai_format(output: Output) -> Schema:
    """Return `name`, `schema` and `strict`. An object with any keys cannot be strict: its schema is sent as it is."""
    strict = not has_any_keys(output)
    schema = _strict(_inlined(output.schema, output.schema.get("$defs", {}))) if strict else dict(output.schema)
    return {"name": output.name, "schema": schema, "strict": strict}


@lru_cache(_KEPT)
def anthropic_format(output: Output) -> Schema:
    """Return the `format` of `output_config`."""
    schema = _inlined(output.schema, output.schema.get("$defs", {}))
    return {"type": "json_schema", "schema": _for_claude(schema)}


@lru_cache(_KEPT)
def has_any_keys(output: Output) -> bool:
    """Return whether there is an object in it with keys that the schema does not name, such as `dict[str, int]`."""
    return _has_any_keys(output.schema)


def _has_any_keys(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_any_keys, value))
    if not isinstance(value, Mapping):
        return False
    is_open = bool(value.get("additionalProperties")) or (value.get("type") == "object" and "properties" not in value)
    return is_open or any(map(_has_any_keys, value.values()))


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a schema without a key beside a reference, which no API takes: the description of an enum, for example.

    The referenced schema takes its place. One that refers to others, and perhaps to itself, stays a bare reference.
    """
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    if not isinstance(value, Mapping):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and len(value) > 1:
        target = definitions[reference.removeprefix("#/$defs/")]
        has_reference = '"$ref"' in json.dumps(target)
        value = {"$ref": reference} if has_reference else {**target, **value, "$ref": None}
    return {name: _inlined(item, definitions) for name, item in value.items() if item is not None or name != "$ref"}


def _strict(schema: Mapping[str, Any]) -> Schema:
    """Return the schema in OpenAI's strict form."""
    found = _with_schemas(schema, _strict)
    for name in ("default", "discriminator"):
        found.pop(name, None)
    if found.get("type") == "object":
        found |= {"additionalProperties": False, "required": list(found.get("properties", ()))}
    return found


def _for_claude(schema: Mapping[str, Any]) -> Schema:
    """Return the schema in Anthropic's form: what it does not know becomes a part of the description."""
    found = _with_schemas(schema, _for_claude)
    kind = found.get("type", "")
    known = _CLAUDE_ALWAYS | _CLAUDE_KEYS.get(kind, set())
    rest = {name: found.pop(name) for name in [*found] if not _is_known(name, found[name], known)}
    for name in ("default", "discriminator", "additionalProperties"):
        rest.pop(name, None)
    if kind == "object":
        found["additionalProperties"] = False
    if rest:
        bounds = ", ".join(f"{name}: {json.dumps(value)}" for name, value in rest.items())
        found["description"] = f"{found.get('description', '')} ({bounds})".strip()
    return found


def _is_known(name: str, value: Any, known: set[str]) -> bool:
    if name == "format" and value not in _CLAUDE_FORMATS:
        return False
    return name in known and not (name == "minItems" and value > 1)


def _with_schemas(schema: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Schema]) -> Schema:
    """Return a copy in which every schema inside is changed; one of several is `anyOf`, never `oneOf`."""
    found = {("anyOf" if name == "oneOf" else name): value for name, value in schema.items()}
    for name in _NAMED:
        if name in found:
            found[name] = {key: change(value) for key, value in found[name].items()}
    for name in _LISTED:
        if name in found:
            found[name] = [change(value) for value in found[name]]
    if isinstance(found.get("items"), Mapping):
        found["items"] = change(found["items"])
    return found
