"""What a reader is sent next, wherever it stands and however the stream has grown meanwhile."""

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat.encoders.simple import SimpleEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.protocol.events import REASONING, START, TEXT, TOOL_CALL, Event, after, length, merge
from streaming_chat.protocol.tool_calls import approval

from .streams import BEGIN, CALL, ENDED, ID, cursor_of, events_of, frames_of, stream_of, writes_of

deltas = st.builds(
    Event,
    st.sampled_from([TEXT, REASONING]),
    st.builds(lambda text, times: text * times, st.text(max_size=8), st.sampled_from([1, 1, 1, 700, 3000])),
)
replies = st.lists(st.one_of(deltas, deltas, st.just(CALL)), max_size=12)


class Impatient(SimpleEncoder):
    """Ends its stream when the reply waits."""

    def wait(self, payload):
        return f"waits until {payload['expires']}".encode()


class WaitingTests(SimpleTestCase):
    APPROVAL = approval([], "2030")

    def cursor(self, *events, encoder=Impatient, answered=0):
        stream = stream_of(*events)
        stream.answered = answered
        return stream, Cursor(stream, encoder(str(ID)))

    def test_a_format_that_cannot_stay_open_ends_the_stream(self):
        for growing in (False, True):
            stream, cursor = self.cursor(*([] if growing else [CALL, self.APPROVAL]))
            writes = writes_of(cursor)
            if growing:
                stream.append([CALL, self.APPROVAL])
                writes += writes_of(cursor)

            assert writes[-1] == b"waits until 2030"
            assert cursor.finished

    def test_a_format_that_can_stays(self):
        stream, cursor = self.cursor(CALL, self.APPROVAL, encoder=SimpleEncoder)
        writes_of(cursor)

        assert not cursor.finished
        stream.append([Event(TEXT, "Yes")])
        assert b'"Yes"' in cursor.next()

    def test_a_reply_that_has_gone_on_is_told_whole(self):
        stream, cursor = self.cursor(CALL, self.APPROVAL, Event(TEXT, "Yes"))
        stream.end(ENDED)

        assert b"waits" not in b"".join(writes_of(cursor))
        assert cursor.finished

    def test_a_run_that_has_the_answer_does_not_wait(self):
        """Its stream ends with the approval until the first tool has returned."""
        stream, cursor = self.cursor(CALL, self.APPROVAL, answered=3)
        writes_of(cursor)

        assert not cursor.finished
        stream.append([Event(TEXT, "Now"), self.APPROVAL])
        assert writes_of(cursor)[-1] == b"waits until 2030"


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
        stream = stream_of(Event(TEXT, "abcd"), is_authoritative=False)
        delta = Event(TEXT, "efghijkl")
        stream.position += delta.size
        cursor = cursor_of(stream, 8)
        meanwhile = cursor.next()
        stream.events.append(delta)

        assert meanwhile is None
        assert events_of(writes_of(cursor)) == [Event(TEXT, "hijkl")]

    def test_a_tail_that_lags_is_waited_for(self):
        stream = stream_of(Event(TEXT, "He"), is_authoritative=False)
        cursor = cursor_of(stream, 5)
        early = cursor.next()
        stream.append([Event(TEXT, "llo")])

        assert early is None
        assert events_of(writes_of(cursor)) == [Event(TEXT, "o")]

    def test_a_tail_that_ends_before_a_position_begins_again(self):
        stream = stream_of(Event(TEXT, "He"), is_authoritative=False)
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
