"""Checks the backends and functions that settings name, by creating or importing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.backends import Backend, create
from streaming_chat.conf import BACKEND, SETTINGS, TABLE, conf
from streaming_chat.notifiers import Notifier
from streaming_chat.providers.base import Provider
from streaming_chat.quotas import Quota

from .tag import TAG


@register(TAG)
def check_backends(**kwargs: Any) -> list[CheckMessage]:
    """Create every configured backend, and report each one that is not usable (E003) or cannot be created (E004)."""
    found = [message for name, base in _BASES.items() for message in _check_setting(name, base)]
    for name, wanted in _FUNCTIONS.items():
        hook = getattr(conf, name)
        if isinstance(hook, str) and (problem := _import_problem(hook)):
            found.append(_not_usable(name, problem, wanted))
    return found


_FUNCTIONS = {
    "STREAMING_CHAT_PROMPT": "a function (request, conversation, messages)",
    "STREAMING_CHAT_CONTEXT": "a function (run, turns)",
}


_BASES: dict[str, type[Backend]] = {
    "STREAMING_CHAT_PROVIDERS": Provider,
    "STREAMING_CHAT_NOTIFIER": Notifier,
    "STREAMING_CHAT_QUOTA": Quota,
    "STREAMING_CHAT_PERMISSIONS": Permissions,
}


def _check_setting(name: str, base: type[Backend]) -> Iterator[CheckMessage]:
    """Check the one backend of a setting, or each of its backends by alias."""
    value: Any = getattr(conf, name)
    if SETTINGS[name].kind is not TABLE:
        if not (value is None and SETTINGS[name].kind.accepts(None)):
            yield from _check_entry(name, value, base)
    elif isinstance(value, dict):
        for alias, entry in value.items():
            yield from _check_entry(f"{name}[{alias!r}]", entry, base, alias)
    else:
        yield _not_usable(name, f"it is {type(value).__name__}", "a dict of backends by alias")


def _check_entry(where: str, entry: Any, base: type[Backend], *arguments: str) -> Iterator[CheckMessage]:
    if not BACKEND.accepts(entry) or not isinstance(entry.get("BACKEND"), str):
        yield _not_usable(where, "it has no dotted path", "a dict with BACKEND, and OPTIONS where there are any")
    elif problem := _import_problem(entry["BACKEND"]):
        yield _not_usable(where, problem, "a dict whose BACKEND is the dotted path of a class")
    elif not isinstance(entry.get("OPTIONS", {}), dict):
        yield _not_created(where, "OPTIONS is not a dict", entry)
    else:
        yield from _check_created(where, entry, base, *arguments)


def _check_created(where: str, entry: dict[str, Any], base: type[Backend], *arguments: str) -> Iterator[CheckMessage]:
    try:
        backend = create(entry, *arguments)
    except (TypeError, ValueError, ImportError, ImproperlyConfigured) as error:
        yield _not_created(where, str(error).rstrip("."), entry)
    except Exception as error:  # noqa: BLE001  (the message of an unknown error may show a secret option)
        yield _not_created(where, f"its constructor raised {type(error).__name__}", entry)
    else:
        if isinstance(backend, base):
            yield from backend.check()
        else:
            yield _not_usable(where, f"{entry['BACKEND']} is of another kind", f"a subclass of {base.__name__}")


def _not_usable(where: str, problem: str, wanted: str) -> CheckMessage:
    return Error(f"{where} is not usable: {problem}.", hint=f"It must be {wanted}.", id=f"{TAG}.E003")


def _not_created(where: str, problem: str, entry: dict[str, Any]) -> CheckMessage:
    return Error(
        f"{where} cannot be created: {problem}.",
        hint=f"Its OPTIONS are the keyword arguments of {entry['BACKEND']}; docs/settings.md describes them.",
        id=f"{TAG}.E004",
    )


def _import_problem(path: str) -> str:
    """Return why a dotted path cannot be imported, "" if it can."""
    try:
        import_string(path)
    except ImportError as error:
        return str(error).rstrip(".")
    return ""
