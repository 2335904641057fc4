"""How processes learn of each other's replies sooner than by reading the database; see base.py."""

from __future__ import annotations

from streaming_chat.backends import BackendSetting

from .base import Notifier, Subscriber

__all__ = ["Notifier", "Subscriber", "get_notifier"]

_notifier = BackendSetting[Notifier]("STREAMING_CHAT_NOTIFIER")


def get_notifier() -> Notifier:
    """Return the notifier of STREAMING_CHAT_NOTIFIER, created at its first use."""
    return _notifier.get()
