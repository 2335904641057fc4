"""What an MCP server says of its tools, as plain data that can be stored, and which of it can be used.

A server is trusted less than the site: it may change what a tool does and what it says of it. Its hints decide nothing but
whether a person is asked, and only if the site says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from streaming_chat.logs import logger
from streaming_chat.protocol.storable_text import storable

from .schemas import flat, problem_with

# Of one definition, and of all: what is stored, and what a model reads with each message.
_MAX_CHARS = 16_000
_MAX_CHARS_OF_ALL = 500_000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class Definition(NamedTuple):
    """One tool of a server. name: as the server knows it. read_only: the server's hint that a call changes nothing."""

    name: str
    description: str
    parameters: dict[str, Any]
    read_only: bool

    @property
    def chars(self) -> int:
        """The characters of all its texts, as JSON."""
        return len(json.dumps(self))

    def name_for_model(self, prefix: str = "") -> str:
        """Return the name with the characters that every API takes."""
        return prefix + _NOT_IN_NAMES.sub("_", self.name)


def usable(offered: Iterable[Mapping[str, Any]]) -> list[Definition]:
    """Return the tools that a model can be given, and log why others cannot. Blocking: it reads schemas of any size."""
    found: dict[str, Definition] = {}
    chars = 0
    for tool in offered:
        try:
            definition = definition_of(tool)
            if (name := definition.name_for_model()) in found:
                raise ValueError("another one has this name")
            if (chars := chars + definition.chars) > _MAX_CHARS_OF_ALL:
                raise ValueError(f"all tools of the server have more than {_MAX_CHARS_OF_ALL} characters")
            found[name] = definition
        except ValueError as error:
            logger.warning("The MCP tool %.80r is left out: %s", tool["name"], error)
    return [*found.values()]


def as_text(definitions: Iterable[Definition]) -> str:
    """Return definitions as they are stored."""
    return json.dumps([definition._asdict() for definition in definitions])


def from_text(text: str) -> list[Definition]:
    """Return definitions that were stored."""
    return [Definition(**fields) for fields in json.loads(text)]


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def definition_of(tool: Mapping[str, Any]) -> Definition:
    """Return what is used of a tool. Raises ValueError for one that cannot be used."""
    try:
        parameters = flat(_storable(tool["parameters"]))
    except RecursionError:
        raise ValueError("its schema is too deep") from None
    definition = Definition(storable(tool["name"]), storable(tool["description"]), parameters, tool["read_only"])
    if problem := problem_with(definition.name_for_model(), parameters) or _problem_with_schema(parameters):
        raise ValueError(problem)
    if definition.chars > _MAX_CHARS:
        raise ValueError(f"its description and its schema have more than {_MAX_CHARS} characters")
    return definition


def _problem_with_schema(parameters: Mapping[str, Any]) -> str:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError:
        return "the schema of its arguments is not a JSON schema"
    return ""


def _storable(value: Any) -> Any:
    """Return a JSON value in which all texts can be stored."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return {storable(name): _storable(item) for name, item in value.items()} if isinstance(value, dict) else value
