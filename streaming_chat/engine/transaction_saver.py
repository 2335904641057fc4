"""Saves runs inside the transaction that holds their rows, where the writer's thread would not see them.

A site's `TestCase` makes its requests inside a transaction that is never committed. A run that begins there is saved by
the thread of that transaction: between the reads of a `BlockingReader`, at the start of each request, and under ASGI by a
task beside the run. Outside of such a transaction, nothing of this is used.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.signals import request_started
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database

from .progress import Progress
from .saver import Saver


class _Caller(NamedTuple):
    """Whose transaction holds the rows of a reply."""

    connection: BaseDatabaseWrapper
    thread: int


class _UncommittedRun:
    """A run that one thread saves. Used by that thread; `flush_soon` by any."""

    def __init__(self, progress: Progress, thread: int, saver: Saver) -> None:
        self.progress = progress
        self.run = progress.run
        self.thread = thread
        self._saver = saver
        self._next_flush = 0.0
        self._loop = asyncio.get_running_loop()
        self._is_due = asyncio.Event()

    def save_if_due(self) -> bool:
        """Save at the ending, else at each interval; True once the ending is saved. Raises the database's error."""
        if self.run.ended.is_set():
            return True
        if not self.run.is_urgent and time.monotonic() < self._next_flush:
            return False
        self._next_flush = time.monotonic() + conf.STREAMING_CHAT_FLUSH_SECONDS
        result = self._saver.save([self.progress])
        if result.outage is not None:
            raise result.outage
        return bool(result.ended)

    def flush_soon(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._is_due.set)

    async def wait_until_due(self) -> None:
        """Return at `flush_soon`, or after an interval. In the run's loop."""
        try:
            await asyncio.wait_for(self._is_due.wait(), conf.STREAMING_CHAT_FLUSH_SECONDS)
        except TimeoutError:
            return
        self._is_due.clear()


class TransactionSaver:
    """The runs of this process whose rows are in a transaction of their caller's."""

    def __init__(self, worker: str) -> None:
        self._saver = Saver(worker)
        self._callers: dict[uuid.UUID, _Caller] = {}
        self._runs: dict[uuid.UUID, _UncommittedRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(self, message_id: uuid.UUID) -> None:
        """Remember whether the caller is inside a transaction, before it makes the rows of a reply. In its thread."""
        connection = connections[live_database()]
        if connection.in_atomic_block:
            self._callers[message_id] = _Caller(connection, threading.get_ident())

    def add(self, progress: Progress) -> bool:
        """Save this run in its caller's transaction; False if there is none. In the run's loop and the caller's context."""
        caller = self._callers.pop(progress.message_id, None)
        # A view with ATOMIC_REQUESTS starts its run at the commit.
        if caller is None or not caller.connection.in_atomic_block:
            return False
        self._runs[progress.message_id] = uncommitted = _UncommittedRun(progress, caller.thread, self._saver)
        request_started.connect(self._on_request_started, dispatch_uid="streaming_chat.transaction_saver", weak=False)
        task = asyncio.ensure_future(self._save_until_ended(uncommitted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def has(self, message_id: uuid.UUID) -> bool:
        """Return whether the ending of this reply is to be saved here."""
        return message_id in self._runs

    def save(self) -> None:
        """Save the runs that are due in the calling thread's transaction. Raises the database's error."""
        for uncommitted in list(self._runs.values()):
            if uncommitted.thread == threading.get_ident():
                self._save(uncommitted)

    def flush_soon(self) -> None:
        """Save soon: a reply has ended, or has no reader. From any thread."""
        for uncommitted in list(self._runs.values()):
            uncommitted.flush_soon()

    def _save(self, uncommitted: _UncommittedRun) -> bool:
        if is_ended := uncommitted.save_if_due():
            self._runs.pop(uncommitted.run.message_id, None)
        return is_ended

    async def _save_until_ended(self, uncommitted: _UncommittedRun) -> None:
        """Save at each interval and at the ending, if the loop's requests are handled by the transaction's thread.

        That is so under ASGI. A background loop has another thread, and leaves it to the readers and the next requests.
        So does a request that has ended, where `streaming_chat.asgi` has chosen its thread. A synchronous middleware keeps
        the thread until the view has answered; meanwhile, the reader for which the view waits saves the reply.
        """
        is_reached, is_ended = True, False
        while is_reached and not is_ended:
            try:
                is_reached, is_ended = await sync_to_async(self._save_in_thread)(uncommitted)
            except RuntimeError:
                # asgiref's, once the request has ended. Any other occurs again in the next request.
                return
            if is_reached and not is_ended:
                await uncommitted.wait_until_due()

    def _save_in_thread(self, uncommitted: _UncommittedRun) -> tuple[bool, bool]:
        if threading.get_ident() != uncommitted.thread:
            return False, False
        return True, self._save(uncommitted)

    def _on_request_started(self, **kwargs: Any) -> None:
        self.save()
