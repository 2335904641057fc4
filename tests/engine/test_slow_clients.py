"""Heartbeats while a reply is silent, and an end to clients that stop reading."""

import asyncio
import contextlib
import threading

from django.core.exceptions import RequestAborted
from django.test import override_settings

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.reader import Reader
from streaming_chat.protocol.events import TEXT, Event
from tests.provider_server import TIMEOUT

from .streams import ENDED, ID, ReaderCase, events_of


class HeartbeatTests(ReaderCase):
    @override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=0.01)
    async def test_silence_is_broken_by_a_comment(self):
        """One newline, no blank line: others take an empty event for the end."""
        stream, reader = self.open()
        await anext(reader)
        beats = [await anext(reader) for _ in range(3)]
        reader.close()

        assert beats == [b":\n"] * 3
        assert stream.position == 1

    @override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=0.01)
    async def test_an_asgi_server_is_sent_them_too(self):
        stream, reader = self.open()
        bodies = []

        async def send(message):
            bodies.append(message["body"])
            if len(bodies) == 4:
                stream.end(ENDED)

        await asyncio.wait_for(reader.send_to(send), TIMEOUT)

        assert bodies[1:4] == [b":\n"] * 3


class StallTests(ReaderCase):
    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.05)
    async def test_a_client_that_reads_nothing_is_disconnected(self):
        stream, reader = self.open()
        taking = asyncio.Event()

        async def send():
            async for _write in reader:
                await taking.wait()

        with self.assertRaises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.ensure_future(send()), TIMEOUT)
        await asyncio.sleep(0)

        assert (stream.readers, self.followed) == ((), [True, False])

    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.05)
    async def test_its_request_is_aborted_and_the_server_goes_on(self):
        """Its task is the server's: the cancellation that ends the wait must not be seen by the server."""
        stream, reader = self.open()

        async def send(message):
            await asyncio.Event().wait()

        async def serve():
            with contextlib.suppress(RequestAborted):
                await reader.send_to(send)
            await asyncio.sleep(0)
            return asyncio.current_task().cancelling()

        cancellations = await asyncio.wait_for(asyncio.ensure_future(serve()), TIMEOUT)

        assert cancellations == 0
        assert (stream.readers, self.followed) == ((), [True, False])

    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.05, STREAMING_CHAT_HEARTBEAT_SECONDS=0.5)
    async def test_a_reader_that_waits_is_not_disconnected(self):
        """Nor whose format has no heartbeat."""

        class Silent(SimpleEncoder):
            heartbeat = b""

        stream, reader = self.open()
        silent = Reader(stream, Silent(str(ID)))
        for each in (reader, silent):
            await anext(each)
        readings = [asyncio.ensure_future(anext(each)) for each in (reader, silent)]
        beat = await readings[0]
        stream.append([Event(TEXT, "Hello")])

        assert beat == b":\n"
        assert events_of([await readings[1]]) == [Event(TEXT, "Hello")]
        reader.close()
        silent.close()

    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.05)
    async def test_a_busy_loop_disconnects_no_reader(self):
        """It has not sent either: what it sees late, it sees twice."""
        stream, reader = self.open()
        await anext(reader)
        threading.Event().wait(0.1)
        await asyncio.sleep(0)
        stream.append([Event(TEXT, "Hello")])
        await asyncio.sleep(0)

        assert events_of([await anext(reader)]) == [Event(TEXT, "Hello")]
        reader.close()

    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.01)
    async def test_a_reader_that_waits_for_the_ending_only_is_not_disconnected(self):
        stream, reader = self.open()
        waiting = asyncio.ensure_future(reader.until_ended(TIMEOUT))
        until = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < until:
            stream.append([Event(TEXT, "a")])
            await asyncio.sleep(0)
        stream.end(ENDED)

        assert await waiting
