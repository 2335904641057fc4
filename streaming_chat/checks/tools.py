"""Checks the toolboxes and which models have them. What a server of tools offers is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        return [_invalid_toolbox("STREAMING_CHAT_TOOLS is not a dict.")]
    toolboxes: dict[str, Toolbox] = {}
    found: list[CheckMessage] = []
    for name, path in table.items():
        where = f"STREAMING_CHAT_TOOLS[{name!r}]"
        try:
            toolboxes[name] = _toolbox(name, path)
        except (ImportError, TypeError, ValueError) as error:
            found.append(_invalid_toolbox(f"{where} cannot be used: {str(error).rstrip('.')}."))
        except Exception as error:  # noqa: BLE001  (the site's module may raise anything, with a secret in its text)
            found.append(_invalid_toolbox(f"{where} cannot be used: its module raised {type(error).__name__}."))
    found += [*_check_models(toolboxes, table), *_check_providers()]
    return [*found, *_check_permissions(toolboxes), *_check_schemas(toolboxes)]


def _toolbox(name: Any, path: Any) -> Toolbox:
    if not isinstance(name, str) or not isinstance(path, str):
        raise TypeError("its name and its dotted path must be strings")
    return toolbox_named(name)


def _invalid_toolbox(problem: str) -> CheckMessage:
    hint = 'Write {"shop": "shop.chat.tools"}, the dotted path of a streaming_chat.tools.Toolbox; see docs/tools.md.'
    return Error(problem, hint=hint, id=f"{TAG}.E015")


def _check_models(toolboxes: Mapping[str, Toolbox], table: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check what each model's options say of tools; check_model_options reports options of another form."""
    used: dict[str, Toolbox] = {}
    for model, names in _names_of_models():
        if unknown := [name for name in names if name not in table]:
            yield _invalid_tools(model, f"{unknown[0]!r:.80} is not in STREAMING_CHAT_TOOLS")
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
        "List toolboxes of STREAMING_CHAT_TOOLS, whose tools have different names: tool(name=…) gives one another name."
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
                id=f"{TAG}.W017",
            )


def _takes_tools(alias: str) -> bool:
    """Return whether a provider can be given tools; True for one that cannot be created, which check_backends reports."""
    try:
        return get_provider(alias).takes_tools
    except Exception:  # noqa: BLE001  (its constructor may raise anything)
        return True


def _open_write(toolbox_name: str, what: str) -> CheckMessage:
    return Warning(
        f"STREAMING_CHAT_TOOLS[{toolbox_name!r}]: {what} can change something, needs no permission, and"
        " STREAMING_CHAT_ALLOW_ANONYMOUS lets everybody chat.",
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


def _check_schemas(toolboxes: Mapping[str, Toolbox]) -> Iterator[CheckMessage]:
    for toolbox_name, tool in _tools(toolboxes):
        if is_recursive(tool.parameters):
            yield Warning(
                f"STREAMING_CHAT_TOOLS[{toolbox_name!r}]: an argument of the tool {tool.name} contains itself, which some"
                " servers of chat completions reject.",
                hint="Limit its depth by a type for each level. If your providers accept it, silence this check.",
                id=f"{TAG}.W016",
            )


def _tools(toolboxes: Mapping[str, Toolbox]) -> Iterator[tuple[str, Tool]]:
    for name, toolbox in toolboxes.items():
        for tool in toolbox.declared.values():
            yield name, tool
