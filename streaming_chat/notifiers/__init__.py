"""How processes learn of each other's replies sooner than by reading the database; see base.py."""

from __future__ import annotations

from streaming_chat.backends import BackendSetting

from .base import Notifier, Subscriber

__all__ = ["Notifier", "Subscriber", "get_notifier"]

_notifier = BackendSetting[Notifier]("STREAMING_CHAT_NOTIFIER", fallback=Notifier)


def get_notifier() -> Notifier:
    """Return the notifier of STREAMING_CHAT_NOTIFIER, created at its first use.

    One that cannot be created must not keep replies from being saved: then followers read the database at their own pace.
    """
    return _notifier.get()
