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


class CallEnded(Exception):
    """A function of the site has raised what is no error of its call: it would end the event loop, or who waits for it.

    Such as SystemExit, a cancellation of its own making, or StopIteration, which cannot be raised into a future.
    """


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
        """Call a function, synchronous or not, and return its result. Raises what it raises, and CallEnded."""
        try:
            return await self._call(function, partial(function, *arguments, **named))
        except SystemExit as error:
            raise _ended(error) from error
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            raise _ended(error) from error

    async def _call(self, function: Callable[..., Any], call: Callable[[], Any]) -> Any:
        if iscoroutinefunction(function):
            return await self._call_here(call)
        found = await self._call_in_thread(partial(_checked, call))
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


def _checked(call: Callable[[], Any]) -> Any:
    """Call a function in a thread. Raises errors only."""
    try:
        return call()
    except StopIteration as error:
        raise _ended(error) from error
    except Exception:
        raise
    except BaseException as error:
        raise _ended(error) from error


def _ended(error: BaseException) -> CallEnded:
    # The log shows the frames of an error, not of what it comes from.
    return CallEnded().with_traceback(error.__traceback__)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
