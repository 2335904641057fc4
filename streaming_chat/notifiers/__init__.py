"""Tails: following a reply that another process writes. This module finds the configured one."""

from __future__ import annotations

import os
import threading

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from streaming_chat.conf import conf

from .base import Follower, Notifier

__all__ = ["Follower", "Notifier", "get_notifier"]


_notifier: Notifier | None = None
_lock = threading.Lock()


def get_notifier() -> Notifier:
    """Return the tail of STREAMING_CHAT_NOTIFIER, made at its first use; one, though threads ask at once."""
    return _notifier or _make()


def _make() -> Notifier:
    global _notifier  # noqa: PLW0603  (the one tail of the process)
    with _lock:
        if _notifier is None:
            entry = conf.STREAMING_CHAT_NOTIFIER
            _notifier = import_string(entry["BACKEND"])(**entry.get("OPTIONS", {}))
        return _notifier


def _reset() -> None:
    global _lock  # noqa: PLW0603  (another thread may have held it when the process was forked)
    _lock = threading.Lock()
    if _notifier is not None:
        _notifier.reset()


def _forget_notifier(*, setting: str, **kwargs: object) -> None:
    global _notifier  # noqa: PLW0603  (as in _make)
    if setting == "STREAMING_CHAT_NOTIFIER" and _notifier is not None:
        _notifier.close()
        _notifier = None


setting_changed.connect(_forget_notifier, dispatch_uid="streaming_chat.notifiers")
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=_reset)
