"""Opens a reply's stream in this process, wherever the reply is written, or was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from asgiref.sync import sync_to_async
from django.db import connections

from .events import START, Event
from .logs import describe, logger
from .models import Message
from .streams import ReplyStream
from .tails import Reading, get_tail

_POLL_SECONDS = 0.3
_FOLLOW_SECONDS = 5.0
# A reader follows from its first read on, after every middleware.
_FIRST_READER_SECONDS = 60.0


class Following:
    """A stream that is filled by looking at a tail, until the ending comes."""

    def __init__(self, message: Message, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Look once, in the caller's thread; `stream` holds what was found."""
        self.stream = ReplyStream(message.pk, loop, whole=False)
        self.stream.append([Event(START, message.start_payload())])
        self._tail = get_tail()
        self._next_follow = 0.0
        self._next_look = 0.0
        self._take(self.look())

    def look(self) -> Reading:
        """Return what is new. Blocking."""
        reading = self._tail.read(self.stream.message_id, self.stream.position)
        if reading.end is None and time.monotonic() >= self._next_follow:
            self._next_follow = time.monotonic() + _FOLLOW_SECONDS
            self._tail.follow(self.stream.message_id)
        return reading

    def look_when_due(self) -> None:
        """Fill the stream, at most once an interval, in the caller's thread; the stream has no loop."""
        if not self.stream.ended and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _POLL_SECONDS
            self._take(self.look())

    async def run(self, *, apart: bool = True) -> None:
        """Fill the stream until its ending or its last reader has gone. In the stream's loop.

        apart: in a thread of its own, whose connection is closed after each look; else in the caller's, which sees what
        its own transaction holds.
        """
        look: Callable[[], Awaitable[Reading]]
        look = sync_to_async(self._look_apart, thread_sensitive=False) if apart else sync_to_async(self.look)
        first_reader_until = time.monotonic() + _FIRST_READER_SECONDS
        is_met = False
        while not self.stream.ended:
            await asyncio.sleep(_POLL_SECONDS)
            if not self.stream.readers:
                if is_met or time.monotonic() > first_reader_until:
                    return
                continue
            is_met = True
            try:
                self._take(await look())
            except Exception as error:  # noqa: BLE001  (ended by it, the readers would wait for ever)
                # The readers stay, and are told the ending when the database is back.
                logger.warning("Reply %s cannot be followed now: %s", self.stream.message_id, describe(error))

    def _look_apart(self) -> Reading:
        try:
            return self.look()
        finally:
            connections.close_all()

    def _take(self, reading: Reading) -> None:
        self.stream.append(reading.events)
        if not reading.exists:
            self.stream.end(_GONE)
        elif reading.end is not None:
            if reading.end_position < self.stream.position:
                self.stream.cut = max(reading.end_position, 1)
            self.stream.end(reading.end)


# What readers are told when the reply was deleted while they followed it.
_GONE = {"status": "failed", "end_reason": "", "error_code": "not_found", "usage": None, "length": 0, "sha256": ""}
