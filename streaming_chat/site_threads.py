"""Calls functions of a site from an event loop: asynchronous ones in it, synchronous ones in a few threads."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from inspect import isawaitable
from queue import SimpleQueue
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import close_old_connections

# How long a process that ends waits for the calls that are being made.
_EXIT_SECONDS = 5.0


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
        atexit.register(self._let_finish)

    def _forget(self) -> None:
        # In a child of a fork, the threads are the parent's.
        self._pool: _Pool | None = None

    def _let_finish(self) -> None:
        if self._pool is not None:
            self._pool.let_finish()

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
            self._pool = _Pool(self._name, self._size)
        return await asyncio.wrap_future(self._pool.submit(partial(_with_connections, call)))

    async def _call_here(self, call: Callable[[], Any]) -> Any:
        if not self.has_own:
            return await call()
        # Its queries run in asgiref's thread, whose connection no request closes.
        await sync_to_async(close_old_connections)()
        found = await call()
        await sync_to_async(close_old_connections)()
        return found


class _Pool:
    """Daemon threads, each started when no other one is free. An executor's would let a call that hangs keep the process."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._left = size
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._running: set[Future[Any]] = set()
        self._idle = threading.Semaphore(0)

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Make a call as soon as a thread is free, unless the future that is returned is cancelled before."""
        future: Future[Any] = Future()
        self._calls.put((future, call))
        if not self._idle.acquire(blocking=False):
            self._start_thread()
        return future

    def _start_thread(self) -> None:
        with self._lock:
            if self._left:
                self._left -= 1
                name = f"{self._name}_{self._left}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._make(*self._calls.get())
            self._idle.release()

    def _make(self, future: Future[Any], call: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        self._running.add(future)
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  (for the caller)
            future.set_exception(error)
        finally:
            self._running.discard(future)

    def let_finish(self) -> None:
        """Wait for the calls that are being made. Blocking."""
        wait([*self._running], _EXIT_SECONDS)


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
