"""The object of a reply as it grows, for Python code in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streaming_chat.protocol.events import TEXT
from streaming_chat.protocol.json_objects import GrowingObject

from .stream import ReplyStream, ThreadWaiter


def growing_objects(stream: ReplyStream) -> Iterator[dict[str, Any]]:
    """Yield the newest object of a stream whenever it has grown, until the ending or the end of this process."""
    waiter, growing, index = ThreadWaiter(), GrowingObject(), 0
    stream.attach(waiter)
    try:
        is_over = False
        while not is_over:
            waiter.clear()
            # First: then all events are here.
            is_over = stream.ended or stream.dismissed
            for event in stream.events[index:]:
                index += 1
                if event.kind == TEXT:
                    growing.add(event.payload)
            if (growing.is_due or is_over) and growing.look() and growing.value is not None:
                yield growing.value
            if not is_over:
                waiter.wait()
    finally:
        stream.detach(waiter)
