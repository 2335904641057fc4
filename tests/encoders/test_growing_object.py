"""The json format: each frame has the object so far, and a reader that is behind gets the newest."""

import json
import random

from django.test import SimpleTestCase

from streaming_chat.encoders.growing_object import GrowingObjectEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import REASONING, TEXT, Event
from tests.engine.streams import CALL, ID, frames_of, stream_of, writes_of
from tests.protocol.test_json_objects import RECIPE, is_prefix

TEXT_OF_RECIPE = json.dumps(RECIPE, indent=2, ensure_ascii=False)


def cursor_of(stream, position=0):
    return Cursor(stream, GrowingObjectEncoder(str(ID)), position)


def objects_in(writes):
    return [frame.data["output"] for frame in frames_of(writes) if frame.event == "message" and frame.data != "[DONE]"]


def ended(text, output_error="", status="completed", reason="stop"):
    return endings.payload(Ending(status, reason), text, None, output_error)


class GrowingObjectEncoderTests(SimpleTestCase):
    def test_each_frame_has_the_object_so_far(self):
        stream, rng = stream_of(), random.Random(1)
        cursor = cursor_of(stream)
        writes, text = writes_of(cursor), TEXT_OF_RECIPE
        while text:
            size = rng.randint(1, 6)
            stream.append([Event(TEXT, text[:size])])
            text = text[size:]
            writes += writes_of(cursor)
        stream.end(ended(TEXT_OF_RECIPE))
        writes += writes_of(cursor)
        frames, objects = frames_of(writes), objects_in(writes)

        assert [frame.event for frame in (frames[0], *frames[-2:])] == ["start", "done", "message"]
        assert len(objects) > 30
        assert all(is_prefix(one, RECIPE) for one in objects)
        assert frames[-2].data["output"] == RECIPE
        assert frames[-2].data["output_error"] is None
        assert "error" not in frames[-2].data
        assert frames[-2].data["text"] == ""

    def test_a_reader_that_is_behind_gets_only_the_newest(self):
        stream = stream_of(*(Event(TEXT, letter) for letter in TEXT_OF_RECIPE * 1))
        long = {"a": "x" * 50_000}
        much = stream_of(*(Event(TEXT, letter) for letter in json.dumps(long)))

        assert objects_in(writes_of(cursor_of(stream))) == [RECIPE]
        assert objects_in(writes_of(cursor_of(much))) == [long]

    def test_it_is_resumed_from_any_position_with_the_newest(self):
        stream = stream_of(Event(TEXT, '{"a": "one'), Event(TEXT, " two"))
        frames = frames_of(writes_of(cursor_of(stream)))
        for position in (0, 1, 7, stream.position):
            cursor = cursor_of(stream, position)
            writes = writes_of(cursor)
            stream_objects = objects_in(writes)

            assert stream_objects == [{"a": "one two"}], position
            assert frames_of(writes)[-1].position == frames[-1].position == stream.position
        stream.append([Event(TEXT, ' three"}')])
        assert objects_in(writes_of(cursor)) == [{"a": "one two three"}]

    def test_what_is_not_text_does_not_disturb_it(self):
        stream = stream_of(Event(REASONING, '{"b": 1}'), Event(TEXT, '{"a": "x'), CALL, Event(TEXT, 'y"}'))
        cursor = cursor_of(stream)

        assert objects_in(writes_of(cursor)) == [{"a": "xy"}]
        stream.append([Event(REASONING, "more")])
        assert b"".join(writes_of(cursor)) == b""

    def test_without_a_valid_object_the_ending_has_the_text(self):
        for text, error in (("Sorry.", "output_refused"), ('{"a": 1', "output_truncated"), ("Hi", None)):
            stream = stream_of(Event(TEXT, text))
            stream.end(ended(text, error))
            done = frames_of(writes_of(cursor_of(stream)))[-2].data

            assert done["text"] == text
            assert done.get("output") is None
            assert (done["output_error"]["code"] if error else done.get("output_error")) == error

    def test_a_cut_takes_back_what_was_beyond_it(self):
        stream = stream_of(Event(TEXT, '{"a": "one two'))
        cursor = cursor_of(stream)
        before = objects_in(writes_of(cursor))
        stream.cut_at(stream.position - 4)
        stream.end(ended("", status="stopped", reason="user"))
        writes = writes_of(cursor)

        assert before == [{"a": "one two"}]
        assert [frame.event for frame in frames_of(writes)[:1]] == ["reset"]
        assert objects_in(writes) == [{"a": "one"}]
        assert frames_of(writes)[-2].data["text"] == '{"a": "one'

    def test_a_number_beyond_json_is_not_told(self):
        stream = stream_of(Event(TEXT, '{"a": "x", "b": 1e999, "c": "'))

        assert objects_in(writes_of(cursor_of(stream))) == []
