"""An object that is valid for a JSON schema, for the demo, which has no model to write one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# From this depth on, an example is as small as possible.
_DEEPEST = 6
_ITEMS = 3
_STRINGS = {
    "date": "2026-01-31",
    "time": "12:00:00",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "demo@example.com",
    "uri": "https://www.example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_VALUES = {"boolean": True, "null": None}


def example_of(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, name: str = "", depth: int = 0) -> Any:
    """Return a value of this schema: its first example, or one that is made up. name: of its property."""
    root = schema if root is None else root
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return example_of(target, root, name, depth)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if variants := schema.get("anyOf") or schema.get("oneOf"):
        # The last is often null, which ends a schema that refers to itself.
        return example_of(variants[0 if depth < _DEEPEST else -1], root, name, depth)
    return _made_up(schema, root, name, depth)


def _made_up(schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        return {key: example_of(value, root, key, depth + 1) for key, value in properties.items()}
    if kind == "array":
        count = 0 if depth >= _DEEPEST else max(schema.get("minItems", 0), min(_ITEMS, schema.get("maxItems", _ITEMS)))
        return [example_of(schema.get("items", {}), root, name, depth + 1) for _number in range(count)]
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    if kind in _VALUES:
        return _VALUES[kind]
    text = f"A {name.replace('_', ' ')} from the built-in demo" if name else "The built-in demo"
    return _STRINGS.get(schema.get("format", ""), text[: schema.get("maxLength")])
