"""The object of a reply as it grows, for Python code in a thread or in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from streaming_chat.protocol.events import TEXT
from streaming_chat.protocol.json_objects import GrowingObject

from .stream import LoopWaiter, ReplyStream, ThreadWaiter


def growing_objects(stream: ReplyStream) -> Iterator[dict[str, Any]]:
    """Yield the newest object of a stream whenever it has grown, until the ending or the end of this process."""
    waiter, newest = ThreadWaiter(), _NewestObject(stream)
    stream.attach(waiter)
    try:
        while not newest.is_final:
            waiter.clear()
            if newest.has_grown():
                yield newest.value
            if not newest.is_final:
                waiter.wait()
    finally:
        stream.detach(waiter)


async def agrowing_objects(stream: ReplyStream) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the same in an event loop."""
    waiter, newest = LoopWaiter(asyncio.get_running_loop(), stream.loop), _NewestObject(stream)
    stream.attach(waiter)
    try:
        while not newest.is_final:
            if newest.has_grown():
                yield newest.value
            elif not newest.is_final:
                await waiter.wait()
    finally:
        stream.detach(waiter)


class _NewestObject:
    """The object of a stream, as far as it has been looked at. is_final: nothing more can come."""

    def __init__(self, stream: ReplyStream) -> None:
        self.is_final = False
        self.value: Any = None
        self._stream = stream
        self._growing = GrowingObject()
        self._index = 0

    def has_grown(self) -> bool:
        """Look at the events that have come, and return whether there is a newer object."""
        # First: then all events are here.
        self.is_final = self._stream.ended or self._stream.dismissed
        for event in self._stream.events[self._index :]:
            self._index += 1
            if event.kind == TEXT:
                self._growing.add(event.payload)
        has_grown = (self._growing.is_due or self.is_final) and self._growing.look()
        self.value = self._growing.value
        return has_grown and self.value is not None
