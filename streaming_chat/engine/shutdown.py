"""Lets a process's replies finish before its server goes.

uvicorn with --timeout-graceful-shutdown otherwise ends without running one `finally`: 50 of 50 replies empty. So the
first run in the main thread puts a handler before the server's own, which is called when the replies are saved.

Under WSGI no run begins in the main thread. There gunicorn's workers are watched, which say in an attribute that they were
told to go: they wait for open streams, and are killed when those have not ended after 30 s (--graceful-timeout).
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Protocol

from streaming_chat.conf import conf
from streaming_chat.logs import logger

from .run import RELEASE_SECONDS

# How long the endings may take to be saved, once the last provider has let go or has been abandoned.
_SAVE_SECONDS = RELEASE_SECONDS + 5.0
_LOOK_SECONDS = 0.02
_SERVER_LOOK_SECONDS = 0.2


class Ending(Protocol):
    """A run, as far as its end goes."""

    ended: threading.Event

    def shut(self) -> None:
        """End it as interrupted."""


class Drain:
    """One process's way out: replies may finish for DRAIN_SECONDS, then they are ended, saved, and the server told.

    live: returns the runs whose ending is not saved. is_expecting: whether more are about to begin. begin: called at each
    signal, in its handler; new replies are refused then. leave: called when endings could not be saved in time.
    """

    def __init__(
        self,
        live: Callable[[], Iterable[Ending]],
        is_expecting: Callable[[], bool],
        begin: Callable[[], object],
        leave: Callable[[], object],
    ) -> None:
        self._live = live
        self._is_expecting = is_expecting
        self._begin = begin
        self._leave = leave
        # Replies may not finish any more.
        self.is_over = False
        self._previous: dict[int, Any] = {}
        self._is_watching_exit = False
        self._watcher: threading.Thread | None = None
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._is_done = False

    def watch(self) -> None:
        """Come before the server's own handlers, once; in another thread than the main one only its going is watched."""
        if not self._is_watching_exit:
            self._is_watching_exit = True
            atexit.register(self._on_exit)
        if threading.current_thread() is not threading.main_thread():
            self._watch_server()
            return
        if self._previous:
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            # None: a handler that is not Python's, as an embedding server's, could not be called afterwards.
            if previous is not None:
                self._previous[number] = previous
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._begin()
        if self._is_done or not self._is_busy():
            self._pass_on(number, frame)
        elif self._thread is None:
            self._thread = threading.Thread(
                target=self._drain, args=(number,), name="streaming_chat.drain", daemon=True
            )
            self._thread.start()
        else:
            self._hurry.set()

    def _watch_server(self) -> None:
        if self._watcher is None and not self._previous and _gunicorn_worker() is not None:
            self._watcher = threading.Thread(target=self._wait_for_server, name="streaming_chat.drain", daemon=True)
            self._watcher.start()

    def _wait_for_server(self) -> None:
        while getattr(_gunicorn_worker(), "alive", False):
            time.sleep(_SERVER_LOOK_SECONDS)
        self._begin()
        self._let_finish()

    def _on_exit(self) -> None:
        if self._watcher is not None:
            # A worker that serves nobody goes at once, whatever it still writes.
            self._wait(conf.STREAMING_CHAT_DRAIN_SECONDS)
        self._end_all()

    def _drain(self, number: int) -> None:
        self._let_finish()
        os.kill(os.getpid(), number)

    def _let_finish(self) -> None:
        seconds = conf.STREAMING_CHAT_DRAIN_SECONDS
        if unsaved := self._unsaved():
            logger.info("%d replies may finish for %s s.", len(unsaved), seconds)
        self._wait(seconds, self._hurry)
        self._end_all()
        self._is_done = True

    def _end_all(self) -> None:
        self.is_over = True
        for run in self._unsaved():
            run.shut()
        if not self._wait(_SAVE_SECONDS):
            logger.error("%d replies could not be saved at shutdown.", len(self._unsaved()))
            self._leave()

    def _wait(self, seconds: float, hurry: threading.Event | None = None) -> bool:
        deadline = time.monotonic() + seconds
        while self._is_busy() and time.monotonic() < deadline:
            if hurry is not None and hurry.is_set():
                return False
            time.sleep(_LOOK_SECONDS)
        return not self._is_busy()

    def _is_busy(self) -> bool:
        return bool(self._unsaved()) or self._is_expecting()

    def _unsaved(self) -> list[Ending]:
        return [run for run in self._live() if not run.ended.is_set()]

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[number]
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _gunicorn_worker() -> object | None:
    """Return what handles SIGTERM here if it is a worker of gunicorn's, whose `alive` says whether it stays."""
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if isinstance(getattr(worker, "alive", None), bool) else None
