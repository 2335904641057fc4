"""Calls into event loops from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def call_in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: Any) -> None:
    """Make a call in a loop, from any thread. A loop that is closed makes none: everything that waited there is gone."""
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        return


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
