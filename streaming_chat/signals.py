"""Signals of a reply's life, sent after the commit, on a thread of their own, by `send_robust`. They carry ids only.

reply_started: message, conversation (UUIDs).
reply_ended: message, conversation, status, end_reason.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections
from django.dispatch import Signal

logger = logging.getLogger("streaming_chat")

reply_started = Signal()
reply_ended = Signal()


class _Announcer:
    """The thread that receivers run on, made at the first signal and again after a fork."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    def forget(self) -> None:
        self._executor = None

    def submit(self, signal: Signal, sender: Any, ids: dict[str, Any]) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="streaming_chat.signals")
        try:
            self._executor.submit(_send, signal, sender, ids)
        except RuntimeError:
            logger.info("Not announced, the interpreter is ending: %s", ids)


def announce(signal: Signal, sender: Any, **ids: Any) -> None:
    """Send a signal on a thread of its own, so that a slow receiver delays no reply."""
    if signal.has_listeners(sender):
        _announcer.submit(signal, sender, ids)


def _send(signal: Signal, sender: Any, ids: dict[str, Any]) -> None:
    try:
        # Django logs what a receiver raises.
        signal.send_robust(sender=sender, **ids)
    finally:
        connections.close_all()


_announcer = _Announcer()
os.register_at_fork(after_in_child=_announcer.forget)
