"""Prepares the providers before a reply needs them: importing an SDK takes seconds, in which nothing should be locked.

A process that serves requests prepares all of them in a thread: from its start with streaming_chat.asgi, and otherwise from
its first request. A management command prepares none. A send creates its provider before its transaction. It does not wait
for the SDK, which only the run needs: its response can begin at once.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started

from streaming_chat.conf import conf
from streaming_chat.logs import describe, logger

from . import get_provider, pricing


def prepare(alias: str) -> None:
    """Create a provider, and do what its first reply would wait for. Blocking. Raises what its constructor raises."""
    provider = get_provider(alias)
    provider.prepare()
    if (source := provider.price_source()) is not None:
        pricing.prepare(source)


class Background:
    """Prepares all providers in a thread, once in a process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it was started before. After the server's forks: one that is importing must not fork."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=_prepare_all, name="streaming_chat.providers", daemon=True)
                    self._thread.start()


background = Background()
os.register_at_fork(after_in_child=background.reset)


def prepare_with_first_request() -> None:
    """Have the first request that a server handles prepare the providers; a test's client is none."""
    request_started.connect(_on_request, dispatch_uid=__name__)


def _prepare_all() -> None:
    for alias in conf.STREAMING_CHAT_PROVIDERS:
        try:
            prepare(alias)
        except Exception as error:  # noqa: BLE001 - the checks say more, and a send with it fails.
            logger.warning("The provider %s cannot be prepared: %s", alias, describe(error))


def _on_request(*, sender: type, **kwargs: Any) -> None:
    if issubclass(sender, ASGIHandler | WSGIHandler):
        request_started.disconnect(dispatch_uid=__name__)
        background.start()
