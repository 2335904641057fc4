"""The arguments of a function as a pydantic model, by its signature and its docstring."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_type_hints

from .docstrings import Docstring

if TYPE_CHECKING:
    from pydantic import BaseModel

# An argument comes by its name, and context by its position.
_BY_NAME = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
_BY_POSITION = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY}


def arguments_model(function: Callable[..., Any], name: str, docstring: Docstring) -> type[BaseModel]:
    """Return the model of the arguments of the tool `name`.

    Raises ImportError without pydantic, and TypeError or ValueError for a function that cannot be a tool.
    """
    try:
        from pydantic import ConfigDict, create_model
    except ImportError as error:
        raise ImportError("Tools need pydantic: pip install 'streaming-chat[tools]'.") from error
    fields = _fields(function, name, docstring)
    if unknown := docstring.parameters.keys() - fields.keys() - {"context"}:
        raise ValueError(f"The docstring of the tool {name} describes {min(unknown)}, which is no parameter of it.")
    with warnings.catch_warnings():
        # A parameter may be named like a method of pydantic's models, such as `copy`. Nothing here calls it.
        warnings.simplefilter("ignore")
        config = ConfigDict(extra="forbid", protected_namespaces=(), use_attribute_docstrings=False)
        try:
            model = create_model(f"{name}_arguments", __config__=config, **fields)
        except Exception as error:  # pydantic's own, for a name that it does not take
            raise TypeError(f"The tool {name} cannot be declared: {error}") from error
    if missing := fields.keys() - model.model_fields.keys():
        # Such as `_order`, which pydantic takes for a private attribute.
        raise TypeError(f"The parameter {min(missing)} of the tool {name} needs another name.")
    return model


def _fields(function: Callable[..., Any], name: str, docstring: Docstring) -> dict[str, Any]:
    """Return the fields of the arguments, as pydantic's create_model takes them."""
    signature = inspect.signature(function)
    parameters = [*signature.parameters.values()]
    if not parameters or parameters[0].name != "context" or parameters[0].kind not in _BY_POSITION:
        raise TypeError(f"The first parameter of the tool {name} must be context, got {name}{signature}.")
    hints = _types_of(function, name)
    return {each.name: _field(each, hints, name, docstring) for each in parameters[1:]}


def _types_of(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:  # an annotation is any expression
        raise TypeError(f"A type of the tool {name} cannot be evaluated: {error}") from error


def _field(parameter: inspect.Parameter, hints: dict[str, Any], name: str, docstring: Docstring) -> tuple[Any, Any]:
    from pydantic import Field
    from pydantic.fields import FieldInfo

    if parameter.kind not in _BY_NAME:
        got = f"{parameter} ({parameter.kind.description})"
        raise TypeError(f"Each parameter of the tool {name} must take one argument by its name, got {got}.")
    if parameter.name not in hints:
        raise TypeError(
            f"The parameter {parameter.name} of the tool {name} needs a type, such as {parameter.name}: str."
        )
    hint = hints[parameter.name]
    _check_type(parameter, hint, name)
    described = any(isinstance(each, FieldInfo) and each.description for each in getattr(hint, "__metadata__", ()))
    text = None if described else docstring.parameters.get(parameter.name)
    default = {} if parameter.default is parameter.empty else {"default": parameter.default}
    return hint, Field(**default, description=text) if text else default.get("default", ...)


def _check_type(parameter: inspect.Parameter, hint: Any, name: str) -> None:
    """Raise TypeError for a type without a JSON schema, and for a default that does not fit."""
    from pydantic import TypeAdapter

    which = f"parameter {parameter.name} of the tool {name}"
    try:
        adapter = TypeAdapter(hint)
        adapter.json_schema()
    except Exception as error:  # pydantic's own errors
        # What follows is advice for models that are not used for JSON.
        problem = str(error).partition("\n")[0].partition(". ")[0]
        raise TypeError(
            f"The type of the {which} cannot be used, since JSON has nothing like it: {problem}."
        ) from error
    if parameter.default is not parameter.empty:
        _check_default(parameter.default, adapter, which)


def _check_default(default: Any, adapter: Any, which: str) -> None:
    """Raise TypeError for a default that a model could not send: it is told of it, and some models send it."""
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    if isinstance(default, FieldInfo):
        raise TypeError(f"The {which} has a Field as its default: write Annotated[type, Field(…)] = default.")
    try:
        adapter.dump_python(adapter.validate_python(default), mode="json")
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise TypeError(f"The default of the {which} does not fit its type: {problem}, got {default!r:.80}.") from error
    except Exception as error:  # pydantic's own errors
        raise TypeError(f"The default of the {which} must be JSON, got {default!r:.80}.") from error
