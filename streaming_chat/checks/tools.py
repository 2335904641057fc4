"""Checks the toolboxes and which models have them. What a server of tools offers is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import chain
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)

from streaming_chat.conf import STRINGS, conf
from streaming_chat.providers import get_provider, split_model
from streaming_chat.providers.model_names import is_model_name
from streaming_chat.tools.registry import toolbox_named
from streaming_chat.tools.schemas import is_recursive
from streaming_chat.tools.tool import Tool
from streaming_chat.tools.toolbox import Toolbox

from .tag import TAG


@register(TAG)
def check_tools(**kwargs: Any) -> list[CheckMessage]:
    """Find toolboxes and tools that cannot be used (E015, E016), or not as they seem to be (W014 to W017)."""
    table: Any = conf.STREAMING_CHAT_TOOLS
    if not isinstance(table, dict):
        return [_invalid_toolbox(f"STREAMING_CHAT_TOOLS must be a dict, got {type(table).__name__}.")]
    toolboxes: dict[str, Toolbox] = {}
    found: list[CheckMessage] = []
    for name, path in table.items():
        where = f"STREAMING_CHAT_TOOLS[{name!r}]"
        try:
            toolboxes[name] = _toolbox(name, path)
        except (ImportError, TypeError, ValueError) as error:
            found.append(_invalid_toolbox(f"{where} cannot be used: {_problem(error)}."))
        except Exception as error:  # noqa: BLE001  (the site's module may raise anything, with a secret in its text)
            found.append(_failed_module(where, path, error))
    found += [*_check_models(toolboxes, table), *_check_providers(), *_check_permissions(toolboxes)]
    declared = (_check_tool(name, tool) for name, toolbox in toolboxes.items() for tool in toolbox.declared.values())
    return [*found, *chain.from_iterable(declared)]


def _toolbox(name: Any, path: Any) -> Toolbox:
    if not isinstance(name, str) or not isinstance(path, str):
        raise TypeError(f"its name and its dotted path must be strings, got {name!r:.80} and {path!r:.80}")
    module, dot, _ = path.rpartition(".")
    if not dot:
        raise ValueError(f"expected a dotted path, got {path!r}")
    # Otherwise an AttributeError of the module would look as if the module lacked the toolbox.
    import_module(module)
    return toolbox_named(name)


def _problem(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "pydantic":
        # Modules with tools often import it themselves, for Field.
        return "pydantic is not installed: pip install 'streaming-chat[tools]'"
    return str(error).rstrip(".")


def _failed_module(where: str, path: str, error: Exception) -> CheckMessage:
    module = path.rpartition(".")[0]
    hint = f'For the traceback, run: manage.py shell -c "import {module}"'
    return Error(f"{where} cannot be used: {module} raised {type(error).__name__}.", hint=hint, id=f"{TAG}.E015")


def _invalid_toolbox(problem: str) -> CheckMessage:
    hint = 'Write {"shop": "shop.chat.tools"}, the dotted path of a streaming_chat.tools.Toolbox; see docs/tools.md.'
    return Error(problem, hint=hint, id=f"{TAG}.E015")


def _check_models(toolboxes: Mapping[str, Toolbox], table: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check what each model's options say of tools; check_model_options reports options of another form."""
    used: dict[str, Toolbox] = {}
    for model, names in _names_of_models():
        if unknown := [name for name in names if name not in table]:
            known = ", ".join(map(repr, table)) or "no toolbox"
            yield _invalid_tools(model, f"{unknown[0]!r:.80} is not in STREAMING_CHAT_TOOLS, which has {known}")
        own = {name: toolboxes[name] for name in names if name in toolboxes}
        yield from (_invalid_tools(model, problem) for problem in _duplicates(own))
        used |= own
    if conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True:
        yield from (_open_write(name, what) for name, toolbox in used.items() for what in toolbox.open_writes())


def _names_of_models() -> Iterator[tuple[str, list[str]]]:
    options: Any = conf.STREAMING_CHAT_MODEL_OPTIONS
    for model, entry in options.items() if isinstance(options, dict) else ():
        names = entry.get("tools", ()) if isinstance(entry, Mapping) else ()
        if STRINGS.accepts(names):
            yield model, [*names]


def _duplicates(toolboxes: Mapping[str, Toolbox]) -> Iterator[str]:
    first: dict[str, str] = {}
    for toolbox_name, toolbox in toolboxes.items():
        for name in toolbox.declared:
            if first.setdefault(name, toolbox_name) != toolbox_name:
                yield f"{first[name]!r} and {toolbox_name!r} both have a tool named {name}"


def _invalid_tools(model: str, problem: str) -> CheckMessage:
    hint = (
        "List names of toolboxes in STREAMING_CHAT_TOOLS. If two of their tools have the same name, give one of them"
        " another: tool(name=…)."
    )
    return Error(f"STREAMING_CHAT_MODEL_OPTIONS[{model!r}]: {problem}.", hint=hint, id=f"{TAG}.E016")


def _check_providers() -> Iterator[CheckMessage]:
    for model, names in _names_of_models():
        if names and is_model_name(model) and not _takes_tools(split_model(model)[0]):
            yield Warning(
                f"STREAMING_CHAT_MODEL_OPTIONS[{model!r}] has tools, but its provider cannot be given any, so the model"
                " never calls them.",
                hint="Remove its tools, or use a provider that takes them. If this one is your own and sends"
                " Prompt.tools, set takes_tools = True.",
                id=f"{TAG}.W018",
            )


def _takes_tools(alias: str) -> bool:
    """Return whether a provider can be given tools; True for one that cannot be created, which check_backends reports."""
    try:
        return get_provider(alias).takes_tools
    except Exception:  # noqa: BLE001  (its constructor may raise anything)
        return True


def _open_write(toolbox_name: str, what: str) -> CheckMessage:
    return Warning(
        f"STREAMING_CHAT_TOOLS[{toolbox_name!r}]: {what} can change something without a permission, and visitors may"
        " chat, since STREAMING_CHAT_ALLOW_ANONYMOUS is True.",
        hint="Give it a permission, which visitors never have. If visitors may do what it does, silence this check.",
        id=f"{TAG}.W015",
    )


def _check_permissions(toolboxes: Mapping[str, Toolbox]) -> Iterator[CheckMessage]:
    known = _known_permissions()
    for toolbox_name, toolbox in toolboxes.items():
        for permission in sorted(toolbox.permissions() - known):
            yield Warning(
                f"STREAMING_CHAT_TOOLS[{toolbox_name!r}] asks for the permission {permission!r}, which no model has.",
                hint="Write app_label.codename, such as shop.view_order. If it is not a model's, silence this check.",
                id=f"{TAG}.W014",
            )


def _known_permissions() -> set[str]:
    """Return the permissions that Django creates for the models of the site."""
    found: set[str] = set()
    for options in (model._meta for model in apps.get_models()):
        codenames = [get_permission_codename(action, options) for action in options.default_permissions]
        codenames += [codename for codename, _ in options.permissions]
        found |= {f"{options.app_label}.{codename}" for codename in codenames}
    return found


def _check_tool(toolbox_name: str, tool: Tool) -> Iterator[CheckMessage]:
    where = f"STREAMING_CHAT_TOOLS[{toolbox_name!r}]"
    if is_recursive(tool.parameters):
        yield Warning(
            f"{where}: an argument of the tool {tool.name} contains itself, which some servers of chat completions reject.",
            hint="Limit its depth by a type for each level. If your providers accept it, silence this check.",
            id=f"{TAG}.W016",
        )
    if not tool.description:
        yield Warning(
            f"{where}: the tool {tool.name} has no description, so a model must guess from its name what it does.",
            hint="Write a docstring that says what the tool does, when to use it, and what it returns.",
            id=f"{TAG}.W017",
        )
