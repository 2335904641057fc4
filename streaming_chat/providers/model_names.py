"""The names of models, `alias:model`, and settings that have an entry for each. Imports nothing of the app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def split_model(name: str) -> tuple[str, str]:
    """Return the alias and the provider's own name of `alias:model`; only the first colon counts."""
    alias, _, model = name.partition(":")
    return alias, model


def is_model_name(name: object) -> bool:
    """Return whether this is `alias:model` or `alias:*`."""
    return isinstance(name, str) and all(split_model(name))


def entry_of(table: Mapping[str, T], model: str, default: T) -> T:
    """Return the entry of a model: its own, or else that of `alias:*`; the default without both."""
    if not table:
        return default
    for name in (model, f"{split_model(model)[0]}:*"):
        if name in table:
            return table[name]
    return default
