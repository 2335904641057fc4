"""Providers: a prompt in, events out. This module finds the configured ones."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from streaming_chat.backends import BackendSetting
from streaming_chat.conf import conf

from .base import Provider

_providers = BackendSetting[Provider]("STREAMING_CHAT_PROVIDERS")


def get_provider(alias: str) -> Provider:
    """Return the provider configured under this alias, created at its first use.

    Raises ImproperlyConfigured for an alias that STREAMING_CHAT_PROVIDERS does not have.
    """
    if alias not in conf.STREAMING_CHAT_PROVIDERS:
        known = ", ".join(sorted(conf.STREAMING_CHAT_PROVIDERS)) or "none"
        raise ImproperlyConfigured(f"STREAMING_CHAT_PROVIDERS has no {alias!r}; it has: {known}.")
    return _providers.get(alias)


def split_model(name: str) -> tuple[str, str]:
    """Return the alias and the provider's own name of `alias:model`; only the first colon counts."""
    alias, _, model = name.partition(":")
    return alias, model


def is_offered(name: str) -> bool:
    """Return whether STREAMING_CHAT_MODELS allows this `alias:model`."""
    alias, model = split_model(name)
    offered = conf.STREAMING_CHAT_MODELS
    return bool(alias and model) and model != "*" and (name in offered or f"{alias}:*" in offered)


def default_model() -> str:
    """Return the model of a request that names none: the first that is not a wildcard, "" without one."""
    return next((name for name in conf.STREAMING_CHAT_MODELS if not name.endswith(":*")), "")
