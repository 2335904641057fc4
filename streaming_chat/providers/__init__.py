"""Providers: a prompt in, events out. This module finds the configured ones."""

from __future__ import annotations

from functools import cache

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from streaming_chat.conf import conf

from .base import Provider


@cache
def get_provider(alias: str) -> Provider:
    """Return the provider configured under this alias, made at its first use.

    Raises ImproperlyConfigured for an alias that STREAMING_CHAT_PROVIDERS does not name.
    """
    try:
        entry = conf.STREAMING_CHAT_PROVIDERS[alias]
    except KeyError:
        known = ", ".join(sorted(conf.STREAMING_CHAT_PROVIDERS)) or "none"
        raise ImproperlyConfigured(f"STREAMING_CHAT_PROVIDERS has no {alias!r}; it has: {known}.") from None
    return import_string(entry["BACKEND"])(alias, **entry.get("OPTIONS", {}))


def split_model(name: str) -> tuple[str, str]:
    """Return the alias and the provider's own name of `alias:model`; only the first colon counts."""
    alias, _, model = name.partition(":")
    return alias, model


def _forget_providers(*, setting: str, **kwargs: object) -> None:
    if setting == "STREAMING_CHAT_PROVIDERS":
        get_provider.cache_clear()


setting_changed.connect(_forget_providers, dispatch_uid="streaming_chat.providers")


def is_offered(name: str) -> bool:
    """Return whether STREAMING_CHAT_MODELS lets people ask for this `alias:model`."""
    alias, model = split_model(name)
    offered = conf.STREAMING_CHAT_MODELS
    return bool(alias and model) and model != "*" and (name in offered or f"{alias}:*" in offered)


def default_model() -> str:
    """Return the model of requests that name none: the first that is no wildcard, "" without one."""
    return next((name for name in conf.STREAMING_CHAT_MODELS if not name.endswith(":*")), "")
