"""Readers: what is sent when, and that leaving is always possible."""

import asyncio
import gc
import itertools
import threading

from django.core.handlers.asgi import ASGIHandler
from django.test import SimpleTestCase, override_settings
from django.utils import translation

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.exceptions import error_object
from streaming_chat.protocol.events import START, TEXT, TOOL_CALL, Event
from tests.provider_server import TIMEOUT

from .streams import BEGIN, CALL, ENDED, ID, ReaderCase, events_of, frames_of, stream_of

HUGE = Event(TOOL_CALL, {**CALL.payload, "arguments": "é" * 60_000})


class ReaderTests(ReaderCase):
    async def test_it_waits_for_more(self):
        stream, reader = self.open()
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        stream.append([Event(TEXT, "Hello")])
        stream.end(ENDED)

        assert events_of(await reading) == [BEGIN, Event(TEXT, "Hello")]

    async def test_what_a_format_has_no_words_for_does_not_hold_up_the_rest(self):
        class Terse(SimpleEncoder):
            def encode(self, events, position):
                return b"" if events[0].kind == START else super().encode(events, position)

        stream = ReplyStream(ID, asyncio.get_running_loop())
        stream.append([BEGIN])
        reader = Reader(stream, Terse(str(ID)))
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        stream.append([CALL])
        stream.end(ENDED)

        assert events_of(await reading) == [CALL]

    async def test_django_sends_a_tool_call_of_any_size_in_one_piece(self):
        stream, reader = self.open()
        stream.append([HUGE])
        stream.end(ENDED)
        writes = await self.read(reader)
        pieces = [piece for write in writes for piece, _is_last in ASGIHandler.chunk_bytes(write)]

        assert pieces == [bytes(write) for write in writes]
        assert events_of(pieces) == [BEGIN, HUGE]
        assert max(len(piece) for piece in pieces) > 5 * 65_536

    async def test_denial_reaches_that_reader_and_no_other(self):
        stream, reader = self.open()
        other = Reader(stream, SimpleEncoder(str(ID)))
        for each in (reader, other):
            await anext(each)
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        await asyncio.to_thread(reader.deny, "forbidden")
        frames = frames_of(await reading)
        stream.append([Event(TEXT, "Hello")])

        assert [frame.event for frame in frames] == ["failed", "message"]
        assert (frames[0].data["status"], frames[0].data["error"]["code"]) == ("failed", "forbidden")
        assert events_of([await anext(other)]) == [Event(TEXT, "Hello")]
        other.close()

    async def test_an_error_of_its_opening_is_its_own(self):
        async def opened():
            raise ConnectionError

        _stream, reader = self.open(on_open=opened)
        with self.assertRaises(ConnectionError):
            await anext(reader)
        reader.close()

    async def test_a_cancelled_read_leaves(self):
        stream, reader = self.open()
        await anext(reader)
        reading = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await asyncio.sleep(0)

        assert reading.cancelled()
        assert (stream.readers, self.followed) == ((), [True, False])

    async def test_closing_from_another_thread_leaves_once(self):
        closed = []
        stream, reader = self.open(register=lambda reader: lambda: closed.append(1))
        await anext(reader)
        for _ in range(2):
            await asyncio.to_thread(reader.close)
        reader.close()
        await asyncio.sleep(0)

        assert (stream.readers, self.followed, closed) == ((), [True, False], [1])

    async def test_closing_ends_a_read_under_way(self):
        _stream, reader = self.open()
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        await asyncio.to_thread(reader.close)

        assert events_of(await reading) == [BEGIN]

    async def test_a_reader_that_is_never_read_does_not_subscribe(self):
        """Dropped in a cycle with an exception, it would be collected late."""
        counted = []
        stream, reader = self.open(register=counted.append)

        assert (stream.readers, self.followed, counted) == ((), [], [])
        reader.close()

    async def test_a_reader_that_is_dropped_leaves(self):
        """A response that a middleware drops is never closed."""
        stream, reader = self.open()
        await anext(reader)
        del reader
        gc.collect()
        await asyncio.sleep(0)

        assert (stream.readers, self.followed) == ((), [True, False])

    async def test_a_reader_that_is_dropped_while_others_are_told_disturbs_nobody(self):
        """The collector may run anywhere."""
        stream, first = self.open()
        second = Reader(stream, SimpleEncoder(str(ID)))
        dropped = [Reader(stream, SimpleEncoder(str(ID))) for _ in range(3)]
        for reader in (first, second, *dropped):
            await anext(reader)

        del reader

        class Collector:
            def wake(self):
                dropped.clear()

        stream.attach(Collector())
        stream.append([Event(TEXT, "Hello")])
        stream.end(ENDED)

        assert events_of(await self.read(first)) == events_of(await self.read(second)) == [Event(TEXT, "Hello")]

    async def test_waiting_for_the_ending_has_a_limit(self):
        stream, reader = self.open()
        too_early = await reader.until_ended(0.01)
        stream.end(ENDED)
        later = await Reader(stream, SimpleEncoder(str(ID))).until_ended(TIMEOUT)

        assert (too_early, later) == (False, True)

    def test_closing_after_its_loop_has_closed_is_possible(self):
        loop = asyncio.new_event_loop()

        async def begin() -> Reader:
            _stream, reader = self.open()
            await anext(reader)
            return reader

        reader = loop.run_until_complete(begin())
        loop.close()
        reader.close()

        assert self.followed == [True]


class SendTests(ReaderCase):
    """What `send_to` makes of the same writes, whatever a server's `send` does."""

    def setUp(self):
        self.messages = []

    async def send(self, message):
        self.messages.append(message)

    @property
    def writes(self):
        return [message["body"] for message in self.messages]

    def start(self, send=None, **options):
        stream, reader = self.open(**options)
        return stream, asyncio.ensure_future(reader.send_to(send or self.send))

    async def test_the_ending_completes_the_body(self):
        """Without one more message, which is one more write to the socket."""
        stream, sending = self.start()
        await asyncio.sleep(0)
        stream.append([Event(TEXT, "Hello")])
        await asyncio.sleep(0)
        stream.end(ENDED)
        await asyncio.wait_for(sending, TIMEOUT)

        assert events_of(self.writes) == [BEGIN, Event(TEXT, "Hello")]
        assert [message["more_body"] for message in self.messages] == [True, True, False]
        assert {message["type"] for message in self.messages} == {"http.response.body"}
        assert stream.readers == ()

    async def test_a_server_that_waits_at_each_message_gets_one_at_a_time(self):
        sends = 0

        async def send(message):
            nonlocal sends
            sends += 1
            assert sends == 1
            await asyncio.sleep(0)
            stream.append([])
            await asyncio.sleep(0)
            self.messages.append(message)
            sends -= 1

        stream, sending = self.start(send)
        for word in ("Hel", "lo", " ", "world"):
            stream.append([Event(TEXT, word)])
            await asyncio.sleep(0)
        stream.end(ENDED)
        await asyncio.wait_for(sending, TIMEOUT)

        assert events_of(self.writes) == [BEGIN, Event(TEXT, "Hello world")]

    async def test_what_comes_meanwhile_shares_a_write(self):
        may_send = asyncio.Event()

        async def send(message):
            self.messages.append(message)
            await may_send.wait()

        stream, sending = self.start(send)
        await asyncio.sleep(0)
        for word in ("Hel", "lo", " ", "world"):
            stream.append([Event(TEXT, word)])
            await asyncio.sleep(0)
        may_send.set()
        stream.end(ENDED)
        await asyncio.wait_for(sending, TIMEOUT)

        assert [events_of([write]) for write in self.writes] == [[BEGIN], [Event(TEXT, "Hello world")], []]

    async def test_an_error_of_the_server_ends_that_reader_only(self):
        async def send(message):
            raise ConnectionResetError

        stream, sending = self.start(send)
        with self.assertRaises(ConnectionResetError):
            await asyncio.wait_for(sending, TIMEOUT)
        await asyncio.sleep(0)
        stream.append([Event(TEXT, "Hello")])

        assert (stream.readers, self.followed) == ((), [True, False])
        assert stream.position == 6

    async def test_a_request_that_is_cancelled_leaves(self):
        for turns in range(3):
            with self.subTest(turns):
                stream, sending = self.start()
                for _ in range(turns):
                    await asyncio.sleep(0)
                sending.cancel()
                await asyncio.wait([sending])
                await asyncio.sleep(0)

                assert sending.cancelled()
                assert stream.readers == ()

    async def test_a_large_message_has_its_true_length(self):
        stream, sending = self.start()
        stream.append([HUGE])
        stream.end(ENDED)
        await asyncio.wait_for(sending, TIMEOUT)

        assert events_of(self.writes) == [BEGIN, HUGE]
        assert {type(write) for write in self.writes} == {bytes}

    async def test_readers_who_are_sent_away_get_no_ending(self):
        stream, sending = self.start()
        await asyncio.sleep(0)
        stream.dismiss()
        await asyncio.wait_for(sending, TIMEOUT)

        assert [frame.event for frame in frames_of(self.writes)] == ["start"]
        assert self.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    async def test_denial_is_in_the_language_of_the_request(self):
        stream, reader = self.open()
        with translation.override("de"):
            sending = asyncio.ensure_future(reader.send_to(self.send))
        await asyncio.sleep(0)
        await asyncio.to_thread(reader.deny, "forbidden")
        await asyncio.wait_for(sending, TIMEOUT)
        error = frames_of(self.writes)[-2].data["error"]

        with translation.override("de"):
            assert error == error_object("forbidden")
        assert error != error_object("forbidden")
        # It leaves in the next turn of the loop, or in the one after it.
        for _turn in range(2):
            await asyncio.sleep(0)
        assert stream.readers == ()

    async def test_a_reader_that_is_far_behind_lets_others_have_their_turn(self):
        """Most servers write to the socket without waiting until its buffer is full."""
        stream, reader = self.open()
        stream.append([Event(TEXT, "a" * 100_000)])
        stream.end(ENDED)
        sending = asyncio.ensure_future(reader.send_to(self.send))
        sent = []
        while not sending.done():
            await asyncio.sleep(0)
            sent.append(len(self.messages))
        most = max(after - before for before, after in itertools.pairwise(sent))

        assert len(self.messages) > 40
        assert most <= 8


class BlockingReaderTests(SimpleTestCase):
    def setUp(self):
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self.loop.run_forever)
        thread.start()
        self.addCleanup(self.loop.close)
        self.addCleanup(thread.join)
        self.addCleanup(self.loop.call_soon_threadsafe, self.loop.stop)
        self.followed = []
        self.stream = ReplyStream(ID, self.loop, on_follow=self.followed.append)
        self.stream.append([BEGIN])

    def test_it_reads_what_a_loop_in_another_thread_receives(self):
        reader = BlockingReader(self.stream, SimpleEncoder(str(ID)))
        writes = [next(reader)]
        for event in (Event(TEXT, "Hel"), Event(TEXT, "lo")):
            self.loop.call_soon_threadsafe(self.stream.append, [event])
            writes.append(next(reader))
        self.loop.call_soon_threadsafe(self.stream.end, ENDED)
        writes += reader

        assert events_of(writes) == [BEGIN, Event(TEXT, "Hello")]
        assert frames_of(writes)[-2].event == "done"

    @override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=0.01)
    def test_silence_is_broken_by_a_comment(self):
        reader = BlockingReader(self.stream, SimpleEncoder(str(ID)))
        writes = [next(reader) for _ in range(3)]
        reader.close()

        assert writes[1:] == [b":\n"] * 2

    def test_denial_is_an_ending_of_its_own(self):
        reader = BlockingReader(self.stream, SimpleEncoder(str(ID)))
        next(reader)
        threading.Timer(0.01, reader.deny, ["forbidden"]).start()
        frames = frames_of(list(reader))

        assert frames[0].data["error"]["code"] == "forbidden"

    def test_it_stops_in_time_without_an_ending_and_counts_until_its_client_reconnects(self):
        reader = BlockingReader(self.stream, SimpleEncoder(str(ID)), seconds=0.05)
        writes = list(reader)
        reader.close()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(TIMEOUT)

        assert events_of(writes) == [BEGIN]
        assert [frame.event for frame in frames_of(writes)] == ["start"]
        assert self.followed == [True]

    def test_dropping_it_leaves(self):
        reader = BlockingReader(self.stream, SimpleEncoder(str(ID)))
        next(reader)
        del reader
        gc.collect()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(TIMEOUT)

        assert self.followed == [True, False]

    def test_waiting_for_the_ending_has_a_limit(self):
        too_early = BlockingReader(self.stream, SimpleEncoder(str(ID))).until_ended(0.01)
        self.loop.call_soon_threadsafe(self.stream.end, ENDED)
        later = BlockingReader(self.stream, SimpleEncoder(str(ID))).until_ended(TIMEOUT)

        assert (too_early, later) == (False, True)


class SubscriptionTests(SimpleTestCase):
    """A reader's place among the readers of a stream and of this process."""

    def subscribe(self, **options):
        self.follows, self.calls = [], []
        self.stream = stream_of(on_follow=self.follows.append)

        def register(reader):
            self.calls.append("registered")
            return lambda: self.calls.append("left")

        return BlockingReader(self.stream, SimpleEncoder(str(ID)), register=register, **options)

    def test_opening_registers_the_reader(self):
        reader = self.subscribe()

        assert (reader.is_open, self.follows, self.calls) == (True, [True], ["registered"])

    def test_closing_leaves_once(self):
        reader = self.subscribe()
        reader.close()
        reader.close()

        assert not reader.is_open
        assert (self.follows, self.calls) == ([True, False], ["registered", "left"])

    def test_a_reply_does_not_go_on_for_staff(self):
        reader = self.subscribe(keeps_alive=False)

        assert reader.is_open
        assert len(self.stream.observers) == 1
        assert self.follows == []
