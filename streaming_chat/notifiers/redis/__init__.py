"""Notifications and events through Redis."""

from .notifier import RedisNotifier

__all__ = ["RedisNotifier"]
