"""Lets a process's replies finish before its server ends.

uvicorn with --timeout-graceful-shutdown otherwise ends without running one `finally`: 50 of 50 replies empty. So the
first run in the main thread puts a handler before the server's own, which is called once the replies are saved.

Under WSGI no run starts in the main thread. There gunicorn's workers are watched, which say in an attribute that they were
told to end: they wait for open streams, and are killed if those have not ended after 30 s (--graceful-timeout).
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from streaming_chat.conf import conf
from streaming_chat.logs import logger

from .run import RELEASE_SECONDS, Run

# How long the endings may take to be saved, once the last provider has let go or has been abandoned.
_SAVE_SECONDS = RELEASE_SECONDS + 5.0
_LOOK_SECONDS = 0.02
_SERVER_LOOK_SECONDS = 0.2


class Drain:
    """Lets this process's replies finish for DRAIN_SECONDS, then ends and saves them.

    live: returns the runs whose ending is not saved. is_expecting: returns whether more are about to start. hand_over:
    called if endings could not be saved in time. is_over: replies may no longer finish.
    """

    def __init__(
        self,
        live: Callable[[], Iterable[Run]],
        is_expecting: Callable[[], bool],
        hand_over: Callable[[], object],
    ) -> None:
        self._live = live
        self._is_expecting = is_expecting
        self._hand_over = hand_over
        self._is_cut_short = threading.Event()
        self.is_over = False

    @property
    def is_busy(self) -> bool:
        """Whether replies are written, or about to be."""
        return bool(self._unsaved()) or self._is_expecting()

    def let_finish(self) -> None:
        """Let the replies finish, and end those that have not. Blocking."""
        seconds = conf.STREAMING_CHAT_DRAIN_SECONDS
        if unsaved := self._unsaved():
            logger.info("%d replies may finish within %s s.", len(unsaved), seconds)
        self.wait(seconds)
        self.end_all()

    def cut_short(self) -> None:
        """End the replies now."""
        self._is_cut_short.set()

    def end_all(self) -> None:
        """End the replies that are written, and wait until they are saved. Blocking."""
        self.is_over = True
        for run in self._unsaved():
            run.shut_down()
        self._wait_until(time.monotonic() + _SAVE_SECONDS)
        if self.is_busy:
            logger.error("%d replies could not be saved at shutdown.", len(self._unsaved()))
            self._hand_over()

    def wait(self, seconds: float) -> None:
        """Wait until no reply is written, for at most so many seconds. Blocking."""
        self._wait_until(time.monotonic() + seconds, self._is_cut_short)

    def _wait_until(self, deadline: float, cut_short: threading.Event | None = None) -> None:
        while self.is_busy and time.monotonic() < deadline and not (cut_short and cut_short.is_set()):
            time.sleep(_LOOK_SECONDS)

    def _unsaved(self) -> list[Run]:
        return [run for run in self._live() if not run.ended.is_set()]


class ServerWatch:
    """Notices that this process is told to end, and has the server end only after the drain.

    on_notice: called at each signal, in its handler: no new replies may be accepted from then on.
    """

    def __init__(self, drain: Drain, on_notice: Callable[[], object]) -> None:
        self._drain = drain
        self._on_notice = on_notice
        # The server's own handlers, by signal.
        self._handlers: dict[int, Any] = {}
        self._is_exit_watched = False
        self._gunicorn_thread: threading.Thread | None = None
        self._drain_thread: threading.Thread | None = None
        self._is_drained = False

    def start(self) -> None:
        """Put handlers before the server's own, once. In another thread than the main one, only gunicorn is watched."""
        if not self._is_exit_watched:
            self._is_exit_watched = True
            atexit.register(self._on_exit)
        if threading.current_thread() is threading.main_thread():
            self._watch_signals()
        else:
            self._watch_gunicorn()

    def _watch_signals(self) -> None:
        if self._handlers:
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            # None: a handler that is not Python's, as an embedding server's, could not be called afterwards.
            if handler is not None:
                self._handlers[number] = handler
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._on_notice()
        if self._is_drained or not self._drain.is_busy:
            self._pass_on(number, frame)
        elif self._drain_thread is None:
            self._drain_thread = _start_thread(self._drain_and_signal, number)
        else:
            self._drain.cut_short()

    def _drain_and_signal(self, number: int) -> None:
        self._drain.let_finish()
        self._is_drained = True
        os.kill(os.getpid(), number)

    def _watch_gunicorn(self) -> None:
        if self._gunicorn_thread is None and not self._handlers and _gunicorn_worker() is not None:
            self._gunicorn_thread = _start_thread(self._wait_for_gunicorn)

    def _wait_for_gunicorn(self) -> None:
        while getattr(_gunicorn_worker(), "alive", False):
            time.sleep(_SERVER_LOOK_SECONDS)
        self._on_notice()
        self._drain.let_finish()

    def _on_exit(self) -> None:
        if self._gunicorn_thread is not None:
            # A worker without open streams ends at once, whatever it still writes.
            self._drain.wait(conf.STREAMING_CHAT_DRAIN_SECONDS)
        self._drain.end_all()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _start_thread(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="streaming_chat.drain", daemon=True)
    thread.start()
    return thread


def _gunicorn_worker() -> object | None:
    """Return what handles SIGTERM here if it is a worker of gunicorn's, whose `alive` says whether it stays."""
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if isinstance(getattr(worker, "alive", None), bool) else None
