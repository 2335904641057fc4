"""Tails: following a reply that another process writes. This module finds the configured one."""

from __future__ import annotations

from streaming_chat.backends import BackendSetting

from .base import Follower, Notifier

__all__ = ["Follower", "Notifier", "get_notifier"]

_notifier = BackendSetting[Notifier]("STREAMING_CHAT_NOTIFIER")


def get_notifier() -> Notifier:
    """Return the notifier of STREAMING_CHAT_NOTIFIER, created at its first use."""
    return _notifier.get()
