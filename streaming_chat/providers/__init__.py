"""Providers: a prompt in, events out. This module finds the configured ones."""

from __future__ import annotations

import re

from django.core.exceptions import ImproperlyConfigured

from streaming_chat.backends import BackendSetting
from streaming_chat.conf import conf

from .base import Provider
from .model_names import split_model

# What a client may choose under a wildcard. Stored names are seen by staff, and by the provider.
_CHOSEN_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,100}")

__all__ = ["default_model", "get_provider", "is_offered", "not_offered", "split_model", "wildcards"]

_providers = BackendSetting[Provider]("STREAMING_CHAT_PROVIDERS")


def get_provider(alias: str) -> Provider:
    """Return the provider configured under this alias, created at its first use.

    Raises ImproperlyConfigured for an alias that STREAMING_CHAT_PROVIDERS does not have.
    """
    if alias not in conf.STREAMING_CHAT_PROVIDERS:
        known = ", ".join(sorted(conf.STREAMING_CHAT_PROVIDERS)) or "none"
        raise ImproperlyConfigured(f"STREAMING_CHAT_PROVIDERS has no {alias!r}; it has: {known}.")
    return _providers.get(alias)


def is_offered(name: str) -> bool:
    """Return whether STREAMING_CHAT_MODELS allows this `alias:model`."""
    alias, model = split_model(name)
    if not alias or model in ("", "*"):
        return False
    return name in conf.STREAMING_CHAT_MODELS or (alias in wildcards() and bool(_CHOSEN_NAME.fullmatch(model)))


def not_offered(name: str) -> str:
    """Return what to tell a client that chose such a model."""
    alias, model = split_model(name)
    if alias in wildcards() and model not in ("", "*"):
        return f"The model's name after {alias}: must be 1 to 100 characters of A-Z a-z 0-9 . _ : / @ + -."
    return f"Must be one of GET api/models, got {name!r}."


def wildcards() -> list[str]:
    """Return the aliases of which clients may choose any model. Such a name is a client's text."""
    return [name.removesuffix(":*") for name in conf.STREAMING_CHAT_MODELS if name.endswith(":*")]


def default_model() -> str:
    """Return the model of a request that names none: the first that is not a wildcard, "" without one."""
    return next((name for name in conf.STREAMING_CHAT_MODELS if not name.endswith(":*")), "")
