"""Owns this process's runs: starts, finds and stops them, and drains them at shutdown. No HTTP from here down."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import LiveReply, Message
from streaming_chat.signals import announce, reply_started

from . import telemetry
from .event_loops import call_in_loop, running_loop
from .follower import FollowedReply, follower
from .run import Order, Run
from .shutdown import Drain, ServerWatch
from .writer import writer

if TYPE_CHECKING:
    from opentelemetry.context import Context

# How long a shutdown waits for a run after the rows of its reply: usually milliseconds.
_EXPECTED_SECONDS = 5.0


class Runner:
    """The registry of this process's runs."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork: threads, loops and runs are the parent's."""
        self._runs: dict[uuid.UUID, Run] = {}
        self._background: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self.is_draining = False
        # Reply whose rows are being made -> until when a shutdown waits for its run, at most.
        self._expected: dict[uuid.UUID, float] = {}
        self._drain = Drain(lambda: self.live, lambda: self.is_expecting, writer.hand_over)
        self._server_watch = ServerWatch(self._drain, self._stop_accepting)

    @property
    def live(self) -> list[Run]:
        """The runs whose ending is not saved yet."""
        return list(self._runs.values())

    def has_room_for(self, message_id: uuid.UUID) -> bool:
        """Return whether this process may write a reply that it expects, besides those it writes and expected earlier."""
        now, ahead = time.monotonic(), len(self._runs)
        for other, until in list(self._expected.items()):
            if other == message_id:
                break
            ahead += until >= now
        return ahead < conf.STREAMING_CHAT_MAX_LIVE_REPLIES

    def find(self, message_id: uuid.UUID) -> Run | None:
        """Return the run that writes this reply in this process."""
        return self._runs.get(message_id)

    def request_stop(self, message_id: uuid.UUID, by: str, position: int | None = None) -> None:
        """Ask for the end of a reply, whichever process writes it. Blocking."""
        if (run := self.find(message_id)) and not run.is_waiting:
            run.request_stop(by, position)
        else:
            live = LiveReply.objects.using(live_database()).filter(pk=message_id)
            write_transaction(partial(live.request_stop, by, position))

    def start(self, order: Order, loop: asyncio.AbstractEventLoop, caller: Context | None = None) -> Run:
        """Return a run, once its rows have been made, that starts in this loop. From any thread.

        caller: the context of the span in which the reply has its own, by default that of the caller.
        """
        run = Run(order, loop, writer.flush_soon, telemetry.begin(order, caller or telemetry.current_context()))
        if running_loop() is loop:
            self._start(run)
        else:
            call_in_loop(loop, self._start, run)
        return run

    def start_in_background(self, order: Order) -> Run:
        """Start a run in this process's loop thread, for callers whose own loop ends with the request. Blocking."""
        loop, caller = self.background_loop(), telemetry.current_context()

        async def start() -> Run:
            return self.start(order, loop, caller)

        # In a context of its own: the thread of the caller's context cannot be called from that loop.
        submit = partial(asyncio.run_coroutine_threadsafe, start(), loop)
        return contextvars.Context().run(submit).result()

    def _start(self, run: Run) -> None:
        self._runs[run.message_id] = run
        self._expected.pop(run.message_id, None)
        self._server_watch.start()
        run.start(self._forget)
        writer.add(run)
        if self._drain.is_over:
            run.shut_down()
        if not run.is_resumed:
            announce(reply_started, Message, message=run.message_id, conversation=run.conversation_id)

    @contextlib.contextmanager
    def expecting(self, message_id: uuid.UUID) -> Iterator[None]:
        """Have a shutdown wait for the run of a reply whose rows are made inside; if that fails, no longer.

        A request that dies between its commit and its run delays a shutdown by 5 s at most.
        """
        self._expected[message_id] = time.monotonic() + _EXPECTED_SECONDS
        writer.expect(message_id)
        try:
            yield
        except BaseException:
            self._expected.pop(message_id, None)
            raise

    def expect_no_longer(self, message_id: uuid.UUID) -> None:
        """Forget a reply whose run does not start here after all."""
        self._expected.pop(message_id, None)

    @property
    def is_expecting(self) -> bool:
        """Whether a run is about to start."""
        now = time.monotonic()
        for message_id, until in list(self._expected.items()):
            if until < now:
                self._expected.pop(message_id, None)
        return bool(self._expected)

    def watch_server(self) -> None:
        """Put handlers before the server's own: a reply is read here. In the loop's thread."""
        self._server_watch.start()

    def _stop_accepting(self) -> None:
        self.is_draining = True
        # Without an ending, for which the server would wait: the clients reconnect to another process.
        follower.dismiss()

    def _forget(self, run: Run) -> None:
        # A reply that has waited may be gone on with already.
        if self._runs.get(run.message_id) is run:
            self._runs.pop(run.message_id, None)
        if run.is_waiting:
            # The process in which it goes on may be another one.
            run.stream.call_in_loop(FollowedReply.adopt, run.stream)

    def background_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of this process's own thread, for runs that outlive the loops of their callers."""
        with self._lock:
            if self._background is None:
                self._background = asyncio.new_event_loop()
                threading.Thread(target=self._background.run_forever, name="streaming_chat.runs", daemon=True).start()
            return self._background


runner = Runner()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=runner.reset)
