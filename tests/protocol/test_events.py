from __future__ import annotations

from itertools import pairwise

from django.test import SimpleTestCase
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streaming_chat.protocol.events import (
    DELTAS,
    END,
    REASONING,
    SOURCE,
    START,
    TEXT,
    TOOL_CALL,
    Event,
    after,
    before,
    distinct_sources,
    fitting,
    from_parts,
    has_answer,
    has_more_than_text,
    length,
    link_of,
    merge,
    source,
    split,
    text_of,
    to_parts,
    weight,
)
from streaming_chat.protocol.storable_text import TextCleaner, storable, storable_value

# Everything a JSON string can bring, lone surrogates and NUL too; the marks are there more often than by chance.
ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\0\r\n\u2028\ud83d\ude00\ud800\udfff🦜é ")), max_size=12)
STORABLE = ANY_TEXT.map(storable)
CALLS = st.fixed_dictionaries({"id": STORABLE, "name": STORABLE, "arguments": STORABLE, "complete": st.booleans()})


def events_of(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[Event]]:
    """Events between the start and the end of a reply."""
    delta = st.builds(Event, st.sampled_from([TEXT, TEXT, REASONING]), text)
    call = st.builds(Event, st.just(TOOL_CALL), CALLS)
    cited = st.builds(source, STORABLE, STORABLE, text=STORABLE)
    other = st.builds(Event, st.just("of_tomorrow"), st.just({"x": 1}))
    return st.lists(st.one_of(delta, delta, delta, call, cited, other), max_size=10)


def reply(inside: list[Event]) -> list[Event]:
    return [Event(START, {}), *inside, Event(END, {"status": "completed"})]


REPLIES = events_of(STORABLE).map(reply)


def cut_up(events: list[Event], cuts: list[int]) -> list[Event]:
    """Return the same stream with its deltas cut at these positions."""
    pieces: list[Event] = []
    position = 0
    for event in events:
        rest = event
        for cut in sorted(set(cuts)):
            if rest.kind in DELTAS and position < cut < position + rest.size:
                first, rest = split(rest, cut - position)
                pieces.append(first)
                position = cut
        pieces.append(rest)
        position += rest.size
    return pieces


def positions(events: list[Event], first: int = 0) -> list[int]:
    found = [first]
    for event in events:
        found.append(found[-1] + event.size)
    return found


CUTS = st.lists(st.integers(0, 80), max_size=12)


class PositionTests(SimpleTestCase):
    def test_a_size_is_code_points(self):
        """Not bytes, not UTF-16 units; the end has no number."""
        sizes = [event.size for event in reply([Event(TEXT, "é🦜"), Event(TOOL_CALL, {}), Event("new", {})])]

        assert sizes == [1, 2, 1, 1, 0]

    @given(REPLIES, CUTS, st.integers(-1, 100))
    @settings(max_examples=300)
    def test_a_resume_anywhere_gives_the_rest(self, events, cuts, position):
        """However the stream was cut and merged, and wherever it was left."""
        for shape in (events, cut_up(events, cuts), list(merge(cut_up(events, cuts)))):
            taken, rest = list(before(shape, position)), list(after(shape, position))

            assert list(merge([*taken, *rest])) == list(merge(events))
            assert rest[-1] == events[-1]
            assert length(taken) == min(max(position, 0), length(events))

    @given(REPLIES, CUTS, CUTS)
    @settings(max_examples=200)
    def test_reads_of_any_size_join_without_a_gap(self, events, cuts, resumes):
        """Each resumes where the last one ended, as readers and encoders do."""
        places = sorted({0, length(events), *(place for place in resumes if place < length(events))})
        joined: list[Event] = []
        for start, stop in pairwise(places):
            read = list(before(after(cut_up(events, cuts), start), stop, first=start))

            assert positions(read, start)[-1] == stop
            joined += read

        assert list(merge([*joined, events[-1]])) == list(merge(events))

    def test_the_end_follows_every_resume(self):
        events = reply([Event(TEXT, "abc")])

        assert list(after(events, 99)) == [events[-1]]
        assert list(after(events, 4)) == [events[-1]]

    def test_a_stream_may_begin_elsewhere(self):
        events = [Event(TEXT, "abc"), Event(REASONING, "de")]

        assert list(after(events, 12, first=10)) == [Event(TEXT, "c"), Event(REASONING, "de")]
        assert list(before(events, 14, first=10)) == [Event(TEXT, "abc"), Event(REASONING, "d")]

    def test_an_event_that_is_no_delta_is_not_halved(self):
        events = [Event(START, {}), Event(TOOL_CALL, {})]

        assert list(before(events, 1)) == [events[0]]
        assert list(after(events, 1)) == [events[1]]


class MergeTests(SimpleTestCase):
    @given(REPLIES, CUTS)
    @settings(max_examples=300)
    def test_merging_undoes_any_split(self, events, cuts):
        assert list(merge(cut_up(events, cuts))) == list(merge(events))

    @given(REPLIES)
    def test_a_merged_stream_has_the_same_length_and_text(self, events):
        merged = list(merge(events))

        assert length(merged) == length(events)
        assert text_of(merged) == text_of(events)
        assert all(event.payload for event in merged if event.kind in DELTAS)
        assert all(one.kind != two.kind or one.kind not in DELTAS for one, two in pairwise(merged))

    def test_kinds_keep_their_order(self):
        inside = [
            Event(REASONING, "a"),
            Event(TEXT, "b"),
            Event(REASONING, ""),
            Event(TEXT, "c"),
            Event(REASONING, "d"),
        ]

        assert list(merge(inside)) == [Event(REASONING, "a"), Event(TEXT, "bc"), Event(REASONING, "d")]

    def test_a_split_is_inside_a_delta(self):
        for event, at in ((Event(TEXT, "ab"), 0), (Event(TEXT, "ab"), 2), (Event(TOOL_CALL, {}), 1)):
            with self.subTest(event=event, at=at), self.assertRaisesMessage(ValueError, "only a delta"):
                split(event, at)


class PartsTests(SimpleTestCase):
    @given(REPLIES, CUTS)
    @settings(max_examples=200)
    def test_parts_and_back_is_the_merged_stream(self, events, cuts):
        parts = to_parts(cut_up(events, cuts))

        assert list(from_parts(parts)) == [event for event in merge(events) if event.kind not in (START, END)]
        assert to_parts(from_parts(parts)) == parts

    @given(REPLIES)
    def test_parts_begin_at_position_1(self, events):
        assert 1 + length(from_parts(to_parts(events))) == length(events)

    def test_a_part_has_its_kind_and_its_own_keys(self):
        call = {"id": "1", "name": "n", "arguments": "{}", "complete": True}

        assert to_parts(reply([Event(TEXT, "a"), Event(TEXT, "b"), Event(TOOL_CALL, call)])) == [
            {"kind": "text", "text": "ab"},
            {"kind": "tool_call", **call},
        ]


class SourceTests(SimpleTestCase):
    def test_it_has_every_key(self):
        cited = source("https://a.example", "A")

        assert cited == Event(
            SOURCE, {"url": "https://a.example", "title": "A", "id": "", "text": "", "origin": "provider"}
        )
        assert (cited.size, weight([cited])) == (1, 100 + len("url titleidtextoriginhttps://a.exampleAprovider"))

    def test_a_page_may_link_to_the_web_and_to_paths_of_the_site_that_the_site_names(self):
        for url, of_model, of_site in (
            ("https://a.example/b?c#d", True, True),
            ("HTTP://a.example", True, True),
            ("/products/7/", False, True),
            ("//a.example", False, False),
            ("/\\a.example", False, False),
            ("javascript:alert(1)", False, False),
            (" https://a.example", False, False),
            ("data:text/html,x", False, False),
            ("https://", False, False),
            ("products/7/", False, False),
            ("", False, False),
        ):
            for origin, is_safe in (("provider", of_model), ("context", of_site)):
                with self.subTest(url=url, origin=origin):
                    wanted = url if is_safe else ""

                    assert link_of({"url": url, "origin": origin}) == wanted
                    assert source(url, "A", origin=origin).payload["url"] == wanted
        assert link_of({"url": ["https://a.example"]}) == link_of({}) == ""

    def test_it_is_no_answer_and_no_later_prompt_needs_it(self):
        cited = source("https://a.example", "A")

        assert not has_answer([Event(START, {}), cited])
        assert has_answer([cited, Event(TEXT, "A")])
        assert not has_more_than_text(to_parts([cited, Event(TEXT, "A")]))

    def test_one_that_is_cited_again_keeps_its_number(self):
        first, second = source("https://a.example", "A", text="One."), source("https://b.example", "B")
        again = source("https://a.example", "A", text="Two.")

        assert distinct_sources([Event(TEXT, "A"), first, second, again]) == [first.payload, second.payload]

    def test_it_is_kept_complete_or_not_at_all(self):
        cited = source("https://a.example", "A")

        assert list(fitting([cited, Event(TEXT, "A")], weight([cited]))) == [cited]
        assert list(fitting([cited, Event(TEXT, "A")], weight([cited]) - 1)) == []


class StorableTests(SimpleTestCase):
    @given(ANY_TEXT)
    @settings(max_examples=300)
    @example("\0")
    @example("a\ud83d\ude00\ude00")
    def test_any_text_becomes_storable(self, text):
        stored = storable(text)

        assert "\0" not in stored
        assert stored.encode().decode() == stored
        assert storable(stored) == stored

    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def test_good_text_is_not_changed(self, text):
        assert storable(text) == text

    def test_each_fault_has_its_repair(self):
        for text, stored in (
            ("\ud83d\ude00", "😀"),
            ("a\ud83db", "a\ufffdb"),
            ("\ude00\ud83d", "\ufffd\ufffd"),
            ("a\0b", "ab"),
            ("\ud83d\0\ude00", "😀"),
        ):
            with self.subTest(stored):
                assert storable(text) == stored

    def test_values_are_repaired_inside(self):
        value = {"a\0": ["\ud83d", ("x", 1, None)], "b": {"c": "\ud83d\ude00"}}

        assert storable_value(value) == {"a": ["\ufffd", ["x", 1, None]], "b": {"c": "😀"}}


class TextCleanerTests(SimpleTestCase):
    @given(events_of(ANY_TEXT), CUTS)
    @settings(max_examples=300)
    @example([Event(TEXT, "\ud83d\ude00")], [1])
    @example([Event(TEXT, "\ud83d\0\ude00")], [1])
    @example([Event(TEXT, "\ud83d\0\ude00")], [2])
    @example([Event(TEXT, "\ud83d"), Event(REASONING, "\ude00")], [])
    @example([Event(TEXT, "\ud83d"), Event(TOOL_CALL, {"id": "\ud83d"})], [])
    def test_any_cut_gives_the_same_storable_stream(self, events, cuts):
        """Of one kind's text between others, cut anywhere: as if it had come at once."""
        merged, pieces = list(merge(events)), cut_up(events, cuts)
        whole = [
            Event(kind, storable(payload) if kind in DELTAS else storable_value(payload)) for kind, payload in merged
        ]

        assert list(merge(self._taken(pieces))) == list(merge(whole))

    @given(events_of(ANY_TEXT))
    def test_what_comes_out_can_be_stored(self, events):
        for event in self._taken(events):
            assert storable_value(event.payload) == event.payload
            assert event.payload

    def test_half_a_pair_waits(self):
        cleaner = TextCleaner()

        assert cleaner.take([Event(TEXT, "a\ud83d")]) == [Event(TEXT, "a")]
        assert cleaner.take([Event(TEXT, "")]) == []
        assert cleaner.take([Event(TEXT, "\ude00b")]) == [Event(TEXT, "😀b")]
        assert cleaner.flush() == []

    def test_half_a_pair_does_not_wait_for_another_kind(self):
        cleaner = TextCleaner()

        assert cleaner.take([Event(TEXT, "\ud83d"), Event(REASONING, "a")]) == [
            Event(TEXT, "\ufffd"),
            Event(REASONING, "a"),
        ]

    def test_half_a_pair_is_not_lost_at_the_end(self):
        cleaner = TextCleaner()
        cleaner.take([Event(REASONING, "\ud83d")])

        assert cleaner.flush() == [Event(REASONING, "\ufffd")]
        assert cleaner.flush() == []

    def _taken(self, events: list[Event]) -> list[Event]:
        cleaner = TextCleaner()
        return [event for piece in events for event in cleaner.take([piece])] + cleaner.flush()
