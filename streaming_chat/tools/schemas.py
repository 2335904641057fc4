"""JSON schemas of arguments, in the form that every API takes, and what an API rejects.

OpenAI and Anthropic want an object at the top, without `anyOf` and the like beside it, and names of a few characters.
Neither takes a reference with keys beside it, and many servers of chat completions resolve no reference at all. So every
definition is written where it is used, unless it contains itself.

Sources: https://developers.openai.com/api/docs/guides/function-calling and
https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview, as of November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = dict[str, Any]

MAX_NAME_CHARS = 64
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}")
_NOT_AT_TOP = ("anyOf", "oneOf", "allOf", "enum", "not")
_DEFINITIONS = "#/$defs/"
# Keys whose values are schemas by name, where "title" is the name of a field, and keys whose values are no schemas.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_VALUES = frozenset({"default", "const", "enum", "examples", "required"})
# A schema of another server may be made to grow without end where its definitions are used.
_MAX_SCHEMAS = 5_000
_MAX_DEPTH = 50


def problem_with(name: str, parameters: Any) -> str:
    """Return why an API rejects a tool of this name with this schema, "" if it takes it."""
    if not _NAME.fullmatch(name):
        return f"its name must be 1 to 64 characters of A-Z a-z 0-9 _ -, got {name!r:.80}"
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        return "the schema of its arguments must have the type object"
    if found := [key for key in _NOT_AT_TOP if key in parameters]:
        return f"the schema of its arguments must not have {found[0]} at the top"
    unresolved = [each for each in _references(parameters) if not isinstance(_target(each, parameters), Mapping)]
    if unresolved:
        return f"the schema of its arguments refers to {unresolved[0]!r:.80}, which it does not define"
    return ""


def is_recursive(parameters: Mapping[str, Any]) -> bool:
    """Return whether a schema from `flat` contains itself, which some servers reject."""
    return any(True for _ in _references(parameters))


def flat(schema: Mapping[str, Any]) -> Schema:
    """Return a schema without titles, and with each definition where it is used, unless it contains itself.

    Raises ValueError for a schema that is too large then.
    """
    flattener = _Flattener(schema)
    found = flattener.flat({name: value for name, value in schema.items() if name not in {"$defs", "definitions"}})
    if kept := flattener.recursive:
        # One of them may use another, which is added meanwhile.
        definitions: Schema = {}
        while missing := sorted(kept - definitions.keys()):
            definitions |= {name: flattener.flat(schema["$defs"][name]) for name in missing}
        found["$defs"] = definitions
    return found


def without_patterns(schema: Any) -> Any:
    """Return a schema that can be validated without a regular expression, which may take forever."""
    if not isinstance(schema, Mapping):
        return schema
    rest = {name: value for name, value in schema.items() if name not in {"pattern", "patternProperties"}}
    return _with_schemas(rest, without_patterns)


class _Flattener:
    """Writes the definitions of one schema where they are used. recursive: the names of the definitions that stay."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._count = 0
        self.recursive: set[str] = set()

    def flat(self, schema: Any, depth: int = 0) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        self._count += 1
        if self._count > _MAX_SCHEMAS or depth > _MAX_DEPTH:
            raise ValueError("The schema is too large.")
        target = _target(schema.get("$ref"), self._root)
        if not isinstance(target, Mapping):
            rest = {name: value for name, value in schema.items() if name != "title"}
            return _with_schemas(rest, lambda each: self.flat(each, depth + 1))
        if (reference := schema["$ref"]) in self._reachable(target):
            self.recursive.add(reference.removeprefix(_DEFINITIONS))
            return {"$ref": reference}
        return self.flat({**target, **{name: value for name, value in schema.items() if name != "$ref"}}, depth + 1)

    def _reachable(self, schema: Mapping[str, Any]) -> set[str]:
        """Return the references in a schema, and in what they refer to."""
        found: set[str] = set()
        waiting = [*_references(schema)]
        while waiting:
            reference = waiting.pop()
            if reference not in found:
                found.add(reference)
                waiting.extend(_references(_target(reference, self._root)))
        return found


def _references(schema: Any) -> Iterator[str]:
    """Iterate over all references in a schema, including those of its definitions."""
    found: list[str] = []

    def look_into(value: Any) -> None:
        if isinstance(value, Mapping):
            if isinstance(reference := value.get("$ref"), str):
                found.append(reference)
            _with_schemas(value, look_into)

    look_into(schema)
    return iter(found)


def _target(reference: Any, root: Mapping[str, Any]) -> Any:
    """Return what a reference refers to (RFC 6901), None if there is nothing."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    target: Any = root
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(target, Mapping):
            return None
        target = target.get(part.replace("~1", "/").replace("~0", "~"))
    return target


def _with_schemas(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> Schema:
    """Return a copy in which every schema inside is changed."""
    return {name: _changed(name, value, change) for name, value in schema.items()}


def _changed(name: str, value: Any, change: Callable[[Any], Any]) -> Any:
    if name in _VALUES:
        return value
    if name in _NAMED and isinstance(value, Mapping):
        return {key: change(each) for key, each in value.items()}
    return [change(each) for each in value] if isinstance(value, list) else change(value)
