"""Tools that are functions of the site: their schema comes from the signature and the docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from streaming_chat.conf import FLAG, POSITIVE_SECONDS, STRING, optional

from .context import ToolContext
from .docstrings import docstring_of
from .results import result_text
from .schemas import flat, problem_with
from .signatures import arguments_model
from .tool import THREADS, Tool, invalid_arguments

if TYPE_CHECKING:
    from pydantic import BaseModel

# Of a wrong value, in characters.
_MAX_SHOWN_INPUT = 100
# What comes from the function itself is no option.
_OPTIONS = [field.name for field in fields(Tool) if field.name not in {"description", "parameters"}]


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
    if unknown := options.keys() - _OPTIONS:
        raise TypeError(
            f"The tool {name} has the unknown option {min(unknown)}; the options are {', '.join(_OPTIONS)}."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"The tool {name} must return its result, but it is a generator.")
    docstring = docstring_of(function)
    model = arguments_model(function, name, docstring)
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


def _check_options(tool: FunctionTool) -> None:
    """Raise ValueError for an option that is not as `Tool` describes it."""
    for name, is_valid, expected in (
        ("effect", tool.effect in ("read", "write"), '"read" or "write"'),
        ("permission", STRING.accepts(tool.permission), '"app_label.codename" or ""'),
        ("approval", _is_approval(tool.approval), "True, False or a function (context, arguments)"),
        ("timeout", optional(POSITIVE_SECONDS).accepts(tool.timeout), "None or a number of seconds, more than 0"),
        ("idempotent", FLAG.accepts(tool.idempotent), "True or False"),
        ("runs", tool.runs in ("server", "client"), '"server" or "client"'),
        ("editable", FLAG.accepts(tool.editable), "True or False"),
    ):
        if not is_valid:
            raise ValueError(f"{name} of the tool {tool.name} must be {expected}, got {getattr(tool, name)!r}.")


def _is_approval(value: Any) -> bool:
    if not callable(value):
        return isinstance(value, bool)
    try:
        inspect.signature(value).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        # Some functions that are written in C do not say what they take.
        pass
    return True


def _problem(error: Any) -> str:
    if error["type"] == "json_invalid":
        return str(error["msg"])
    where = ".".join(map(str, error["loc"])) or "arguments"
    got = "" if error["type"] == "missing" else f", got {error['input']!r:.{_MAX_SHOWN_INPUT}}"
    return f"{where}: {error['msg']}{got}"
