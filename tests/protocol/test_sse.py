from __future__ import annotations

import time
from itertools import pairwise

from django.test import SimpleTestCase
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streaming_chat.protocol.sse import HEARTBEAT, Splitter, frame

TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\r\n\0\u2028\u0085:é🦜 ")), max_size=40)
NAME = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=10)
CUTS = st.lists(st.integers(0, 400), max_size=12)
BREAKS = st.sampled_from(["\n", "\r\n", "\r"])


def split_all(data: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    """Return the events of a stream that arrives in these pieces."""
    splitter = Splitter()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [event for start, end in pairwise(places) for event in splitter.feed(data[start:end])]


def with_lf(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()


class FrameTests(SimpleTestCase):
    def test_each_line_of_the_text_is_a_field(self):
        """CR, LF and CRLF end a line for a browser; U+2028 does not."""
        framed = frame("a\nb\r\nc\u2028d")

        assert framed == "data: a\ndata: b\ndata: c\u2028d\n\n".encode()

    def test_id_and_event_come_first(self):
        assert frame("x", event="done", id="7/end") == b"id: 7/end\nevent: done\ndata: x\n\n"

    def test_an_empty_text_has_a_field(self):
        """A block without data is not dispatched at all."""
        assert frame("") == b"data: \n\n"

    def test_what_a_browser_would_misread_is_refused(self):
        for field in ({"event": "a\nb"}, {"id": "a\rb"}, {"id": "a\0b"}):
            with self.subTest(field), self.assertRaisesMessage(ValueError, "must be one line"):
                frame("x", **field)

    def test_a_heartbeat_dispatches_nothing(self):
        assert split_all(HEARTBEAT + frame("a") + HEARTBEAT + HEARTBEAT + frame("b"), []) == [
            ("", b"a"),
            ("", b"b"),
        ]


class SplitterTests(SimpleTestCase):
    @given(st.lists(st.tuples(NAME, TEXT), max_size=5), CUTS, BREAKS, st.booleans())
    @settings(max_examples=300)
    @example([("", "a\r"), ("x", "\n")], [3, 4, 5, 6, 7, 8, 9], "\r\n", True)
    def test_any_frames_cut_anywhere_come_out_again(self, events, cuts, line_break, bom):
        data = b"\xef\xbb\xbf" * bom + b"".join(frame(text, event=name) for name, text in events).replace(
            b"\n", line_break.encode()
        )

        assert split_all(data, cuts) == [(name, with_lf(text)) for name, text in events]

    @given(st.binary(max_size=200), CUTS)
    @settings(max_examples=200)
    @example(b"data: a\r\n\r\ndata: b\r\r", [8, 9])
    @example(b"\xef\xbbdata: a\n\n", [1])
    @example(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [2, 5])
    def test_any_bytes_give_the_same_however_they_are_cut(self, data, cuts):
        data = data.replace(b"d", b"\ndata:").replace(b"e", b"\n\n").replace(b"c", b"\r")

        assert split_all(data, cuts) == split_all(data, []) == split_all(data, list(range(len(data))))

    def test_other_fields_are_ignored(self):
        data = b": comment\nid: 1\nretry: 5\nunknown: x\ndata\ndatax: 1\nevent\ndata:a\ndata:  b\n\n"

        assert split_all(data, []) == [("", b"\na\n b")]

    def test_a_block_without_data_is_no_event(self):
        """Its name does not pass to the next one either."""
        assert split_all(b"event: ping\n\n\n\ndata: a\n\n", []) == [("", b"a")]

    def test_the_last_name_of_a_block_counts(self):
        assert split_all(b"event: a\nevent: b\ndata: x\n\n", []) == [("b", b"x")]

    def test_a_cr_ends_an_event_without_waiting_for_an_lf(self):
        """A stream that ends its lines with CR alone would otherwise hang one event behind."""
        splitter = Splitter()

        assert splitter.feed(b"data: a\r\r") == [("", b"a")]
        assert splitter.feed(b"\ndata: b\n\n") == [("", b"b")]

    def test_what_is_left_is_given_at_the_end(self):
        splitter = Splitter()

        assert splitter.feed(b"data: a\n\nevent: x\ndata: b") == [("", b"a")]
        assert splitter.rest() == [("x", b"b")]
        assert splitter.rest() == []

    def test_an_event_without_end_is_refused(self):
        """By size, whether it comes as one line, as many, or in small reads."""
        for data in (b"x" * 101, b"data: " + b"x" * 101, b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 41 + b"\n"):
            for size in (1, 1000):
                splitter = Splitter(limit=100)
                with self.subTest(data=data, size=size), self.assertRaisesMessage(ValueError, "100 bytes"):
                    for start in range(0, len(data), size):
                        splitter.feed(data[start : start + size])

    def test_lines_without_data_are_refused_by_size_too(self):
        splitter = Splitter(limit=100)

        with self.assertRaisesMessage(ValueError, "100 bytes"):
            splitter.feed(b"data:\n" * 200)

    def test_many_events_are_not_one(self):
        splitter = Splitter(limit=100)

        assert len(splitter.feed(b"data: 1234567890\n\n" * 100)) == 100

    def test_one_long_line_in_small_reads_takes_linear_time(self):
        """A provider may send 1 MB of arguments as one event; at 64 bytes a read that is 16 000 reads."""
        began = time.process_time()
        splitter = Splitter()
        splitter.feed(b"data: ")
        for _ in range(16_000):
            splitter.feed(b"x" * 64)
        (event,) = splitter.feed(b"\n\n")

        assert len(event[1]) == 1_024_000
        assert time.process_time() - began < 1
