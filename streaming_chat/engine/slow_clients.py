"""Watches what an async reader sends: heartbeats while the reply is silent, and an end to clients that stop reading."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from streaming_chat.conf import conf

from .event_loops import call_in_loop

if TYPE_CHECKING:
    from .reader import Reader

# A reader is disconnected when it is seen stalled twice: a loop that was busy for so long has not sent either.
_SECOND_LOOK_SECONDS = 1.0
# A timer may fire a little early by the clock that it is compared with.
_CLOCK_TOLERANCE_SECONDS = 0.001


class SendWatch:
    """One timer a reader, set again only when it fires: a token costs it nothing. It does not keep the reader alive."""

    def __init__(self, reader: Reader, loop: asyncio.AbstractEventLoop, *, sends_heartbeats: bool) -> None:
        self._reader = weakref.ref(reader)
        self._loop = loop
        self._sends_heartbeats = sends_heartbeats
        self._timer: asyncio.TimerHandle | None = None
        # The time of the write after which the reader was last seen stalled.
        self._stalled_write = 0.0

    def look(self) -> None:
        """Look at the reader now, and again when the next thing may be due. In the loop."""
        reader = self._reader()
        if reader is not None and reader.is_open:
            self._timer = self._loop.call_at(self._look_at(reader), self.look)

    def stop(self) -> None:
        """Look no more. From any thread."""
        if self._timer is not None:
            call_in_loop(self._loop, self._timer.cancel)

    def _look_at(self, reader: Reader) -> float:
        now = self._loop.time()
        due = self._look_for_stall(reader, now)
        return min(due, self._look_for_silence(reader, now)) if self._sends_heartbeats else due

    def _look_for_stall(self, reader: Reader, now: float) -> float:
        timeout = conf.STREAMING_CHAT_SEND_TIMEOUT_SECONDS
        if reader.is_waiting:
            self._stalled_write = 0.0
            return now + timeout
        # It is sending, or about to read on.
        due = reader.last_write_at + timeout
        if now < due:
            return due
        if self._stalled_write == reader.last_write_at:
            reader.disconnect()
        self._stalled_write = reader.last_write_at
        return now + min(_SECOND_LOOK_SECONDS, timeout)

    def _look_for_silence(self, reader: Reader, now: float) -> float:
        seconds = conf.STREAMING_CHAT_HEARTBEAT_SECONDS
        due = reader.last_write_at + seconds
        if now < due - _CLOCK_TOLERANCE_SECONDS:
            return due
        if reader.is_waiting:
            reader.send_heartbeat()
        return now + seconds
