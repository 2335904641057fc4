"""Signals of a reply's life and of alerts, sent after the commit, on a thread of their own, by `send_robust`. None has text.

reply_started: message, conversation (UUIDs).
reply_ended: message, conversation, status, end_reason.
alert_raised: alert (a UUID), kind, data (ids, numbers and names of settings); see docs/alerts.md.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from django.db import connections
from django.dispatch import Signal

logger = logging.getLogger("streaming_chat")

reply_started = Signal()
reply_ended = Signal()
alert_raised = Signal()


@cache
def _executor() -> ThreadPoolExecutor:
    """Return the thread that receivers run on."""
    return ThreadPoolExecutor(1, thread_name_prefix="streaming_chat.signals")


os.register_at_fork(after_in_child=_executor.cache_clear)


def announce(signal: Signal, sender: Any, **ids: Any) -> None:
    """Send a signal on a thread of its own, so that a slow receiver delays no reply."""
    if signal.has_listeners(sender):
        try:
            _executor().submit(_send, signal, sender, ids)
        except RuntimeError:
            logger.info("Not announced, the interpreter is ending: %s", ids)


def _send(signal: Signal, sender: Any, ids: dict[str, Any]) -> None:
    try:
        # Django logs what a receiver raises.
        signal.send_robust(sender=sender, **ids)
    finally:
        connections.close_all()
