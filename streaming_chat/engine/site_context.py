"""Calls a site's STREAMING_CHAT_CONTEXT for a reply: after its rows are saved, and before its provider is asked.

An asynchronous function runs in the event loop of the run. A synchronous one runs in a thread, which goes on if the reply is
stopped or the time is over: Python cannot end it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import close_old_connections

from streaming_chat.conf import conf
from streaming_chat.providers.context import Context
from streaming_chat.providers.prompt import Prompt

# (RunContext, turns) -> Context | None, or an awaitable of that.
ContextFunction: TypeAlias = Callable[..., Any]

# Each may hold a connection of the database.
_THREADS = 8


class _Threads:
    """The threads of synchronous functions, created at the first use."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork: the threads are the parent's."""
        self._pool: ThreadPoolExecutor | None = None

    def call(self, function: Callable[[], Any]) -> Awaitable[Any]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="streaming_chat.context")
        return asyncio.get_running_loop().run_in_executor(self._pool, _with_connections, function)


_threads = _Threads()
os.register_at_fork(after_in_child=_threads.reset)


async def look_up(function: ContextFunction, prompt: Prompt) -> Context:
    """Return what the site knows about a prompt. Raises what the function raises, TimeoutError, and TypeError."""
    async with asyncio.timeout(conf.STREAMING_CHAT_CONTEXT_TIMEOUT_SECONDS):
        call = partial(function, prompt.context, prompt.turns)
        found = await (_call_here(call) if iscoroutinefunction(function) else _threads.call(call))
    if found is not None and not isinstance(found, Context):
        raise TypeError(f"STREAMING_CHAT_CONTEXT must return a Context or None, got {type(found).__name__}")
    return found or Context()


async def _call_here(function: Callable[[], Awaitable[Any]]) -> Any:
    # Its queries run in asgiref's thread, whose connection no request closes.
    await sync_to_async(close_old_connections)()
    found = await function()
    await sync_to_async(close_old_connections)()
    return found


def _with_connections(function: Callable[[], Any]) -> Any:
    """Call a function with connections as a request has them."""
    close_old_connections()
    try:
        return function()
    finally:
        close_old_connections()
