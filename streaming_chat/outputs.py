"""Structured output: the objects that a reply can consist of, instead of text for people.

A site names pydantic models in STREAMING_CHAT_OUTPUTS, or passes one from Python. A provider gets its JSON schema, and only
the complete object is validated, on the server, when the reply has ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from .conf import conf
from .protocol.json_objects import object_in, object_text

if TYPE_CHECKING:
    from pydantic import BaseModel

# What OpenAI's API accepts as the name of a schema.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
# A site may make models while it runs.
_KEPT = 256


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Output:
    """The object that a reply must be. Made once for each model class and name.

    name: A-Z a-z 0-9 _ -, up to 64 of them. type: the pydantic model. schema: its JSON schema, which must not be changed.
    """

    name: str
    type: type[BaseModel]
    schema: Mapping[str, Any]

    def error_in(self, text: str) -> str:
        """Return the code of what is wrong with a complete text, "" for nothing. May call the site's own validators."""
        from pydantic import ValidationError

        try:
            object_in(text)
        except ValueError:
            return "output_not_json"
        try:
            self.parse(text)
        except ValidationError:
            return "output_invalid"
        return ""

    def parse(self, text: str) -> BaseModel:
        """Return the validated object. Raises pydantic's ValidationError."""
        return self.type.model_validate_json(object_text(text))


def output_named(name: str) -> Output:
    """Return the output that STREAMING_CHAT_OUTPUTS has by this name. Raises KeyError, and what check_outputs reports."""
    return _output(import_string(conf.STREAMING_CHAT_OUTPUTS[name]), name)


def output_of(model: type[BaseModel]) -> Output:
    """Return the output for a model class. Its name is that of the setting, or else that of the class.

    Raises TypeError for what is no pydantic model, or one whose JSON is not an object.
    """
    path = f"{getattr(model, '__module__', '')}.{getattr(model, '__qualname__', '')}"
    for name, named in conf.STREAMING_CHAT_OUTPUTS.items():
        if named == path:
            return _output(model, name)
    return _output(model, _NOT_IN_NAMES.sub("_", getattr(model, "__name__", ""))[:64])


def problem_with(name: Any, path: Any) -> str:
    """Return why this cannot be an entry of STREAMING_CHAT_OUTPUTS, "" if it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "its name must be 1 to 64 characters of A-Z a-z 0-9 _ -"
    if not isinstance(path, str):
        return f"it must be the dotted path of a pydantic model, got {type(path).__name__}"
    try:
        _output(import_string(path), name)
    except (ImportError, TypeError) as error:
        return str(error).rstrip(".")
    except Exception as error:  # noqa: BLE001  (pydantic's own, for a field without a JSON schema)
        return f"it has no JSON schema ({type(error).__name__})"
    return ""


@lru_cache(_KEPT)
def _output(model: type[BaseModel], name: str) -> Output:
    from pydantic import BaseModel

    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"expected a subclass of pydantic.BaseModel, got {type(model).__name__}.")
    schema = _at_root(model.model_json_schema())
    if schema.get("type") != "object":
        raise TypeError(f"the JSON of {model.__name__} must be an object; put it into a field of another model.")
    return Output(name, model, schema)


def _at_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose root is no reference, which is how pydantic describes a model that contains itself."""
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    return {**schema["$defs"][reference], "$defs": schema["$defs"]} if reference else schema
