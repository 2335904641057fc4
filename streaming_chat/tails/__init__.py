"""Tails: following a reply that another process writes. This module finds the configured one."""

from __future__ import annotations

import os
from functools import lru_cache

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from streaming_chat.conf import conf

from .base import Follower, Tail

__all__ = ["Follower", "Tail", "get_tail"]


@lru_cache(maxsize=1)
def get_tail() -> Tail:
    """Return the tail of STREAMING_CHAT_TAIL, made at its first use."""
    entry = conf.STREAMING_CHAT_TAIL
    return import_string(entry["BACKEND"])(**entry.get("OPTIONS", {}))


def _reset() -> None:
    if get_tail.cache_info().currsize:
        get_tail().reset()


def _forget_tail(*, setting: str, **kwargs: object) -> None:
    if setting == "STREAMING_CHAT_TAIL":
        get_tail.cache_clear()


setting_changed.connect(_forget_tail, dispatch_uid="streaming_chat.tails")
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=_reset)
