"""Tools that are functions of the site: their schema comes from the signature and the docstring."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_type_hints

from .context import ToolContext
from .docstrings import Docstring, docstring_of
from .results import result_text
from .schemas import flat, problem_with
from .tool import THREADS, Tool, invalid_arguments

if TYPE_CHECKING:
    from pydantic import BaseModel

# Of a wrong value, in characters.
_MAX_SHOWN_INPUT = 100


@dataclass(frozen=True, kw_only=True, repr=False)
class FunctionTool(Tool):
    """A function of the site. model: the pydantic model of its arguments."""

    function: Callable[..., Any]
    model: type[BaseModel]

    def parse(self, arguments: str) -> BaseModel:
        """Validate the arguments; a validator may be the site's own."""
        from pydantic import ValidationError

        try:
            # Some models send nothing for a tool without arguments.
            return self.model.model_validate_json(arguments.strip() or "{}")
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False)
            raise invalid_arguments(self.name, [*map(_problem, problems)]) from None

    async def call(self, context: ToolContext, arguments: BaseModel, *, key: str) -> str:
        """Call the function: in the event loop, or in a thread if it is not asynchronous."""
        named = {name: getattr(arguments, name) for name in type(arguments).model_fields}
        result = await THREADS.call(self.function, replace(context, key=key if self.idempotent else ""), **named)
        # In a thread, too: a queryset makes its query when its rows are needed.
        return await THREADS.call(result_text, result)


def function_tool(function: Callable[..., Any], *, name: str, **options: Any) -> FunctionTool:
    """Return a function as a tool.

    Raises ImportError without pydantic, and TypeError or ValueError for a function that cannot be a tool.
    """
    docstring = docstring_of(function)
    model = _arguments_model(function, name, docstring)
    try:
        parameters = flat(model.model_json_schema())
    except Exception as error:  # pydantic's own errors, for a type without a JSON schema
        raise TypeError(f"The tool {name} has an argument without a JSON schema: {error}") from error
    # The docstring of pydantic's base class would be in its place.
    parameters.pop("description", None)
    if problem := problem_with(name, parameters):
        raise ValueError(f"The tool {name} cannot be declared: {problem}.")
    tool = FunctionTool(
        name=name, description=docstring.description, parameters=parameters, function=function, model=model, **options
    )
    _check_options(tool)
    return tool


def _arguments_model(function: Callable[..., Any], name: str, docstring: Docstring) -> type[BaseModel]:
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
        except Exception as error:  # pydantic's own, for a type that it does not know
            raise TypeError(f"The tool {name} cannot be declared: {error}") from error
    if missing := fields.keys() - model.model_fields.keys():
        # Such as `_order`, which pydantic takes for a private attribute.
        raise TypeError(f"The parameter {min(missing)} of the tool {name} needs another name.")
    return model


def _fields(function: Callable[..., Any], name: str, docstring: Docstring) -> dict[str, Any]:
    """Return the fields of the arguments, as pydantic's create_model takes them."""
    hints = get_type_hints(function, include_extras=True)
    parameters = [*inspect.signature(function).parameters.values()]
    if not parameters or parameters[0].name != "context" or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"The first parameter of the tool {name} must be context.")
    return {each.name: _field(each, hints, name, docstring) for each in parameters[1:]}


def _field(parameter: inspect.Parameter, hints: dict[str, Any], name: str, docstring: Docstring) -> tuple[Any, Any]:
    from pydantic import Field
    from pydantic.fields import FieldInfo

    if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
        raise TypeError(f"The tool {name} must take {parameter} by its name.")
    if parameter.name not in hints:
        raise TypeError(f"The parameter {parameter.name} of the tool {name} has no type.")
    hint = hints[parameter.name]
    described = any(isinstance(each, FieldInfo) and each.description for each in getattr(hint, "__metadata__", ()))
    text = None if described else docstring.parameters.get(parameter.name)
    default = {} if parameter.default is parameter.empty else {"default": parameter.default}
    return hint, Field(**default, description=text) if text else default.get("default", ...)


def _check_options(tool: FunctionTool) -> None:
    """Raise TypeError or ValueError for options that are not as `Tool` describes them."""
    if tool.effect not in {"read", "write"}:
        raise ValueError(f'effect of the tool {tool.name} must be "read" or "write", got {tool.effect!r}.')
    if tool.runs not in {"server", "client"}:
        raise ValueError(f'runs of the tool {tool.name} must be "server" or "client", got {tool.runs!r}.')
    if not isinstance(tool.approval, bool) and not callable(tool.approval):
        raise TypeError(f"approval of the tool {tool.name} must be True, False or a function (context, arguments).")
    if tool.timeout is not None and not tool.timeout > 0:
        raise ValueError(f"timeout of the tool {tool.name} must be more than 0 seconds, got {tool.timeout!r}.")


def _problem(error: Any) -> str:
    if error["type"] == "json_invalid":
        return str(error["msg"])
    where = ".".join(map(str, error["loc"])) or "arguments"
    got = "" if error["type"] == "missing" else f", got {error['input']!r:.{_MAX_SHOWN_INPUT}}"
    return f"{where}: {error['msg']}{got}"
