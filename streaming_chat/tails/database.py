"""A tail through the database alone: nothing to install. Followers look at it at their own pace, 0.3 s."""

from __future__ import annotations

from .base import Tail


class DatabaseTail(Tail):
    """Says nothing."""
