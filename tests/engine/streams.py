"""A small reply stream, and what its writes say, for the tests of streams, cursors and readers."""

import asyncio
import uuid

from django.test import SimpleTestCase

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.engine.reader import Reader
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.protocol.events import REASONING, START, TEXT, TOOL_CALL, Event, merge
from tests.provider_server import TIMEOUT
from tests.servers import Frame, parse_frame

ID = uuid.UUID(int=7)
BEGIN = Event(START, {"message": str(ID)})
ENDED = {"status": "completed", "end_reason": "stop", "usage": None, "length": 0, "sha256": ""}
CALL = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{}", "complete": True})


def stream_of(*events: Event, **options) -> ReplyStream:
    """Return a stream without a loop, begun, with these events."""
    stream = ReplyStream(ID, None, **options)
    stream.append([BEGIN, *events])
    return stream


def cursor_of(stream: ReplyStream, position: int = 0) -> Cursor:
    return Cursor(stream, SimpleEncoder(str(ID)), position)


def writes_of(cursor: Cursor) -> list[bytes]:
    """Return what a cursor has to send now."""
    return list(iter(cursor.next, None))


def frames_of(writes: list[bytes]) -> list[Frame]:
    return [parse_frame(raw + b"\n\n") for raw in b"".join(writes).split(b"\n\n") if raw]


def events_of(writes: list[bytes]) -> list[Event]:
    """Return what these writes say, merged, without ending and [DONE]."""
    told = []
    for frame in frames_of(writes):
        match frame.event:
            case "start":
                told.append(BEGIN)
            case "message" if frame.data != "[DONE]":
                told.append(Event(TEXT, frame.data["text"]))
            case "reasoning":
                told.append(Event(REASONING, frame.data["reasoning"]))
            case "tool_call":
                told.append(Event(TOOL_CALL, frame.data["tool_call"]))
    return list(merge(told))


class ReaderCase(SimpleTestCase):
    """Opens readers in the test's own loop. followed: what the stream said of being followed."""

    async def read(self, reader: Reader) -> list[bytes]:
        async with asyncio.timeout(TIMEOUT):
            return [write async for write in reader]

    def open(self, position: int = 0, **options) -> tuple[ReplyStream, Reader]:
        self.followed = []
        stream = ReplyStream(ID, asyncio.get_running_loop(), on_follow=self.followed.append)
        stream.append([BEGIN])
        return stream, Reader(stream, SimpleEncoder(str(ID)), position, **options)
