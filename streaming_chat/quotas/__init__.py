"""Quotas: how much may be asked for. This module finds the configured one."""

from __future__ import annotations

from functools import lru_cache

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from streaming_chat.conf import conf

from .base import Quota, Reconciliation, tokens_in

__all__ = ["Quota", "Reconciliation", "get_quota", "tokens_in"]


@lru_cache(maxsize=1)
def get_quota() -> Quota | None:
    """Return the quota of STREAMING_CHAT_QUOTA, made at its first use; None without one."""
    entry = conf.STREAMING_CHAT_QUOTA
    return import_string(entry["BACKEND"])(**entry.get("OPTIONS", {})) if entry else None


def _forget_quota(*, setting: str, **kwargs: object) -> None:
    if setting == "STREAMING_CHAT_QUOTA":
        get_quota.cache_clear()


setting_changed.connect(_forget_quota, dispatch_uid="streaming_chat.quotas")
