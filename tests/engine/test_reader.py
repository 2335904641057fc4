"""Readers and the stream they read: what is sent when, and that leaving is always possible."""

import asyncio
import gc
import threading
import uuid

from django.test import SimpleTestCase, override_settings
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.protocol.events import END, REASONING, START, TEXT, TOOL_CALL, Event, after, length, merge
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


deltas = st.builds(
    Event,
    st.sampled_from([TEXT, REASONING]),
    st.builds(lambda text, times: text * times, st.text(max_size=8), st.sampled_from([1, 1, 1, 700, 3000])),
)
replies = st.lists(st.one_of(deltas, deltas, st.just(CALL)), max_size=12)


class CursorTests(SimpleTestCase):
    @given(replies, st.data())
    def test_any_growth_from_any_position_is_told_whole(self, events, data):
        """Whatever was merged or split on the way; every frame within its limit, every write one that Django keeps whole."""
        whole = [BEGIN, *(event for event in events if event.size)]
        position = data.draw(st.integers(0, length(whole)))
        known = data.draw(st.integers(0, len(whole)))
        stream = ReplyStream(ID, None)
        stream.append(whole[:known])
        position = min(position, stream.position)
        cursor = cursor_of(stream, position)
        writes = writes_of(cursor)
        for event in whole[known:]:
            stream.append([event])
            if data.draw(st.booleans()):
                writes += writes_of(cursor)
        stream.end(ENDED)
        writes += writes_of(cursor)
        frames = frames_of(writes)

        assert events_of(writes) == list(merge(after(whole, position)))
        assert cursor.finished
        assert [frame.event for frame in frames[-2:]] == ["done", "message"]
        assert all(write.endswith(b"\n\n") and len(write) <= 65536 for write in writes)
        assert all(len(frame.data["text"]) <= 4096 for frame in frames[:-1])
        assert all(len(frame.data.get("reasoning", "")) <= 4096 for frame in frames[:-1])

    @given(st.text(min_size=1, max_size=30), st.data())
    def test_every_id_is_where_the_next_event_begins(self, text, data):
        cut = data.draw(st.integers(0, len(text)))
        stream = stream_of(*(Event(TEXT, part) for part in (text[:cut], text[cut:]) if part))
        frames = frames_of(writes_of(cursor_of(stream)))
        again = [events_of(writes_of(cursor_of(stream, frame.position))) for frame in frames]

        assert [frame.position for frame in frames][-1] == 1 + len(text)
        assert again == [list(after([BEGIN, Event(TEXT, text)], frame.position)) for frame in frames]

    def test_neighbours_of_one_kind_share_a_frame(self):
        stream = stream_of(Event(TEXT, "a"), Event(TEXT, "b"), Event(REASONING, "c"), CALL, Event(TEXT, "d"))
        names = [frame.event for frame in frames_of(writes_of(cursor_of(stream)))]

        assert names == ["start", "message", "reasoning", "tool_call", "message"]

    def test_a_large_tool_call_is_written_alone(self):
        """Django cuts a write at 65,536 bytes: beside other frames it would be cut in two."""
        large = Event(TOOL_CALL, {**CALL.payload, "arguments": "é" * 9000})
        writes = writes_of(cursor_of(stream_of(Event(TEXT, "é" * 2000), large, Event(TEXT, "é" * 2000))))

        assert all(len(write) <= 65536 and write.endswith(b"\n\n") for write in writes)
        assert len(events_of(writes)) == 4

    def test_nothing_new_is_nothing(self):
        cursor = cursor_of(stream_of(Event(TEXT, "a")))
        writes_of(cursor)

        assert cursor.next() is None
        assert not cursor.finished

    def test_a_cut_ahead_is_where_it_ends(self):
        stream = stream_of(Event(TEXT, "Hello"))
        stream.cut = 3
        cursor = cursor_of(stream)
        before_the_ending = writes_of(cursor)
        stream.end(ENDED)

        assert events_of(before_the_ending) == [BEGIN, Event(TEXT, "He")]
        assert [frame.event for frame in frames_of(writes_of(cursor))] == ["done", "message"]

    def test_a_cut_behind_takes_back_what_was_told(self):
        stream = stream_of(Event(TEXT, "Hello"))
        cursor = cursor_of(stream)
        writes_of(cursor)
        stream.cut = 3
        silent = cursor.next()
        stream.end(ENDED)
        frames = frames_of(writes := writes_of(cursor))

        assert silent is None
        assert frames[0].event == "reset"
        assert events_of(writes) == [BEGIN, Event(TEXT, "He")]
        assert frames[-2].event == "done"

    def test_a_cut_and_an_ending_that_come_while_a_write_is_made_take_back_what_was_told(self):
        """As a thread may meet them: it has compared its position when the loop adds both."""

        class Racing(ReplyStream):
            is_cut_next = False

            @property
            def position(self):
                position = super().position
                if self.is_cut_next:
                    self.is_cut_next, self.cut = False, 3
                    self.end(ENDED)
                return position

            @position.setter
            def position(self, value):
                ReplyStream.position.__set__(self, value)

        stream = Racing(ID, None)
        stream.append([BEGIN, Event(TEXT, "a" * 3000)])
        cursor = cursor_of(stream)
        cursor.next()
        stream.is_cut_next = True
        during = cursor.next()
        writes = writes_of(cursor)

        assert during is None
        assert frames_of(writes)[0].event == "reset"
        assert events_of(writes) == [BEGIN, Event(TEXT, "aa")]

    def test_a_position_past_a_whole_stream_begins_again(self):
        writes = writes_of(cursor_of(stream_of(Event(TEXT, "Hello")), 99))

        assert frames_of(writes)[0].event == "reset"
        assert events_of(writes) == [BEGIN, Event(TEXT, "Hello")]

    def test_an_event_that_is_just_being_added_is_not_taken_for_one_that_is_there(self):
        """As a thread sees it, that reads what a loop adds: the stream's position moves first."""
        stream = stream_of(Event(TEXT, "abcd"), whole=False)
        delta = Event(TEXT, "efghijkl")
        stream.position += delta.size
        cursor = cursor_of(stream, 8)
        meanwhile = cursor.next()
        stream.events.append(delta)

        assert meanwhile is None
        assert events_of(writes_of(cursor)) == [Event(TEXT, "hijkl")]

    def test_a_tail_that_lags_is_waited_for(self):
        stream = stream_of(Event(TEXT, "He"), whole=False)
        cursor = cursor_of(stream, 5)
        early = cursor.next()
        stream.append([Event(TEXT, "llo")])

        assert early is None
        assert events_of(writes_of(cursor)) == [Event(TEXT, "o")]

    def test_a_tail_that_ends_before_a_position_begins_again(self):
        stream = stream_of(Event(TEXT, "He"), whole=False)
        cursor = cursor_of(stream, 5)
        stream.end(ENDED)

        assert [frame.event for frame in frames_of(writes_of(cursor))][:2] == ["reset", "start"]

    def test_what_a_format_has_no_words_for_is_no_silence(self):
        class Terse(SimpleEncoder):
            def encode(self, events, position):
                return b"" if events[0].kind == START else super().encode(events, position)

        cursor = Cursor(stream_of(Event(REASONING, "a")), Terse(str(ID)))

        assert cursor.next() == b""
        assert cursor.next() is None


class StreamTests(SimpleTestCase):
    def test_it_ends_once_and_nothing_follows(self):
        """A run that lost its claim may still hold half a tool call when it learns of its end."""
        stream = stream_of(Event(TEXT, "a"))
        stream.end(ENDED)
        stream.end({**ENDED, "status": "failed"})
        stream.append([Event(TEXT, "b")])

        assert stream.events == [BEGIN, Event(TEXT, "a"), Event(END, ENDED)]
        assert stream.position == 2


class ReaderTests(SimpleTestCase):
    async def read(self, reader: Reader) -> list[bytes]:
        async with asyncio.timeout(TIMEOUT):
            return [write async for write in reader]

    def open(self, position: int = 0, **options) -> tuple[ReplyStream, Reader]:
        self.followed = []
        stream = ReplyStream(ID, asyncio.get_running_loop(), on_follow=self.followed.append)
        stream.append([BEGIN])
        return stream, Reader(stream, SimpleEncoder(str(ID)), position, **options)

    async def test_it_waits_for_more(self):
        stream, reader = self.open()
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        stream.append([Event(TEXT, "Hello")])
        stream.end(ENDED)

        assert events_of(await reading) == [BEGIN, Event(TEXT, "Hello")]

    @override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=0.01)
    async def test_silence_is_broken_by_a_comment(self):
        """One newline, no blank line: others take an empty event for the end."""
        stream, reader = self.open()
        await anext(reader)
        beats = [await anext(reader) for _ in range(3)]
        reader.close()

        assert beats == [b":\n"] * 3
        assert stream.position == 1

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

    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.05)
    async def test_who_takes_nothing_for_so_long_is_cut(self):
        stream, reader = self.open()
        taking = asyncio.Event()

        async def send():
            async for _write in reader:
                await taking.wait()

        with self.assertRaises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.ensure_future(send()), TIMEOUT)
        await asyncio.sleep(0)

        assert (stream.readers, self.followed) == (set(), [True, False])

    @override_settings(STREAMING_CHAT_SEND_TIMEOUT_SECONDS=0.05, STREAMING_CHAT_HEARTBEAT_SECONDS=0.5)
    async def test_who_waits_is_not_cut(self):
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
    async def test_a_busy_loop_cuts_nobody(self):
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
    async def test_who_only_waits_for_the_ending_writes_nothing_and_is_not_cut(self):
        stream, reader = self.open()
        waiting = asyncio.ensure_future(reader.until_ended(TIMEOUT))
        until = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < until:
            stream.append([Event(TEXT, "a")])
            await asyncio.sleep(0)
        stream.end(ENDED)

        assert await waiting

    async def test_a_refused_reader_is_told_so_and_the_others_nothing(self):
        stream, reader = self.open()
        other = Reader(stream, SimpleEncoder(str(ID)))
        for each in (reader, other):
            await anext(each)
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        await asyncio.to_thread(reader.refuse, "forbidden")
        frames = frames_of(await reading)
        stream.append([Event(TEXT, "Hello")])

        assert [frame.event for frame in frames] == ["failed", "message"]
        assert (frames[0].data["status"], frames[0].data["error"]["code"]) == ("failed", "forbidden")
        assert events_of([await anext(other)]) == [Event(TEXT, "Hello")]
        other.close()

    async def test_an_error_of_its_opening_is_its_own(self):
        async def opened():
            raise ConnectionError

        _stream, reader = self.open(opened=opened)
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
        assert (stream.readers, self.followed) == (set(), [True, False])

    async def test_closing_from_another_thread_leaves_once(self):
        closed = []
        stream, reader = self.open(count=lambda reader: lambda: closed.append(1))
        await anext(reader)
        for _ in range(2):
            await asyncio.to_thread(reader.close)
        reader.close()
        await asyncio.sleep(0)

        assert (stream.readers, self.followed, closed) == (set(), [True, False], [1])

    async def test_closing_ends_a_read_under_way(self):
        _stream, reader = self.open()
        reading = asyncio.ensure_future(self.read(reader))
        await asyncio.sleep(0)
        await asyncio.to_thread(reader.close)

        assert events_of(await reading) == [BEGIN]

    async def test_a_reader_that_is_never_read_never_came(self):
        """Dropped in a cycle with an exception, it would be collected late."""
        counted = []
        stream, reader = self.open(count=counted.append)

        assert (stream.readers, self.followed, counted) == (set(), [], [])
        reader.close()

    async def test_a_reader_that_is_dropped_leaves(self):
        """A response that a middleware drops is never closed."""
        stream, reader = self.open()
        await anext(reader)
        del reader
        gc.collect()
        await asyncio.sleep(0)

        assert (stream.readers, self.followed) == (set(), [True, False])

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

    def test_a_refused_reader_is_told_so(self):
        reader = BlockingReader(self.stream, SimpleEncoder(str(ID)))
        next(reader)
        threading.Timer(0.01, reader.refuse, ["forbidden"]).start()
        frames = frames_of(list(reader))

        assert frames[0].data["error"]["code"] == "forbidden"

    def test_it_ends_in_time_without_an_ending_and_counts_until_its_client_is_back(self):
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
