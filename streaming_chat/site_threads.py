"""Calls functions of a site from an event loop: asynchronous ones in it, synchronous ones in a few threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import isawaitable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import close_old_connections


class SiteThreads:
    """A few threads of one name, created at the first use. Each may hold a connection of the database during a call.

    A call in a thread goes on if the task that waits for it is cancelled: Python cannot end it. One for which no thread is
    free yet does not begin then.

    has_own: False only in tests, whose transaction no other thread sees: calls are made where asgiref makes them, and no
    connection is closed.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self.has_own = True
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        # In a child of a fork, the threads are the parent's.
        self._pool: ThreadPoolExecutor | None = None

    async def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function, synchronous or not, and return its result. Raises what it raises."""
        call = partial(function, *arguments, **named)
        if iscoroutinefunction(function):
            return await self._call_here(call)
        found = await self._call_in_thread(call)
        return await self._call_here(lambda: found) if isawaitable(found) else found

    async def _call_in_thread(self, call: Callable[[], Any]) -> Any:
        if not self.has_own:
            return await sync_to_async(call)()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
        return await asyncio.get_running_loop().run_in_executor(self._pool, _with_connections, call)

    async def _call_here(self, call: Callable[[], Any]) -> Any:
        if not self.has_own:
            return await call()
        # Its queries run in asgiref's thread, whose connection no request closes.
        await sync_to_async(close_old_connections)()
        found = await call()
        await sync_to_async(close_old_connections)()
        return found


def _with_connections(call: Callable[[], Any]) -> Any:
    """Call a function with connections as a request has them."""
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()
