"""Tails: following a reply that another process writes. This module finds the configured one."""

from __future__ import annotations

import os
import threading

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from streaming_chat.conf import conf

from .base import Follower, Tail

__all__ = ["Follower", "Tail", "get_tail"]


_tail: Tail | None = None
_lock = threading.Lock()


def get_tail() -> Tail:
    """Return the tail of STREAMING_CHAT_TAIL, made at its first use; one, though threads ask at once."""
    return _tail or _make()


def _make() -> Tail:
    global _tail  # noqa: PLW0603  (the one tail of the process)
    with _lock:
        if _tail is None:
            entry = conf.STREAMING_CHAT_TAIL
            _tail = import_string(entry["BACKEND"])(**entry.get("OPTIONS", {}))
        return _tail


def _reset() -> None:
    global _lock  # noqa: PLW0603  (another thread may have held it when the process was forked)
    _lock = threading.Lock()
    if _tail is not None:
        _tail.reset()


def _forget_tail(*, setting: str, **kwargs: object) -> None:
    global _tail  # noqa: PLW0603  (as in _make)
    if setting == "STREAMING_CHAT_TAIL" and _tail is not None:
        _tail.close()
        _tail = None


setting_changed.connect(_forget_tail, dispatch_uid="streaming_chat.tails")
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=_reset)
