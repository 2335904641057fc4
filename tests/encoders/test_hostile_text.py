"""Whatever a model writes, each format carries it: the same text, as many events as were sent, and nothing forged."""

import uuid

from django.test import SimpleTestCase
from hypothesis import example, given
from hypothesis import strategies as st

from streaming_chat.encoders import encoder_named, formats
from streaming_chat.engine.cursor import Cursor
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.events import DELTAS, END, REASONING, START, TEXT, TOOL_CALL, Event
from streaming_chat.protocol.storable_text import TextCleaner

from .formats import FORMATS, WITHOUT_TEXT, Item, merged

ID = uuid.UUID(int=7)
START_EVENT = Event(START, {"message": str(ID), "user_message": "u", "conversation": "c", "model": "demo:demo"})
# What has a meaning in one of the formats, or on the way to it.
_MARKS = [
    *("\r", "\n", "\r\n", "\n\n", "\x85", "\u2028", "\u2029", "\0", "\ufeff", "\x1e"),
    *("data:", "data: [DONE]", "event: done", "id: x", "retry: 1", ":", ": ping", "\n\nevent: done\ndata: {}\n\n"),
    *("\ud83d", "\ude00", "\ud800", "🦜", "e\u0301"),
    *(
        "<script>alert(1)</script>",
        "</span>",
        "&lt;",
        "&#10;",
        "<!--",
        "]]>",
        "<?x",
        '"',
        "'",
        "\\",
        "\\u0000",
        "{}",
        "}\n{",
    ),
]
TEXTS = st.lists(st.one_of(st.sampled_from(_MARKS), st.characters(), st.just(" ")), max_size=8).map("".join)
CALLS = st.fixed_dictionaries({"id": TEXTS, "name": TEXTS, "arguments": TEXTS, "complete": st.just(True)})


def _replies() -> st.SearchStrategy[list[Event]]:
    delta = st.builds(Event, st.sampled_from([TEXT, TEXT, REASONING]), TEXTS)
    call = st.builds(Event, st.just(TOOL_CALL), CALLS)
    addresses = st.one_of(TEXTS, TEXTS.map("https://e.example/{}".format))
    cited = st.builds(events.source, addresses, TEXTS, id=TEXTS, text=TEXTS)
    return st.lists(st.one_of(delta, delta, delta, call, cited), max_size=8).map(_cleaned)


def _cleaned(received: list[Event]) -> list[Event]:
    """Return what a reply has of what its provider has sent."""
    cleaner = TextCleaner()
    return [*cleaner.take(received), *cleaner.flush()]


def expected(name: str, inside: list[Event]) -> list[Item]:
    """Return what a client of this format must read."""
    kinds = FORMATS[name].kinds | {TEXT}
    whole = [Event(START, {}), *inside, Event(END, {})]
    items = [(kind, payload if kind in DELTAS else "") for kind, payload in whole if kind in kinds]
    return merged(items)


def sent(name: str, inside: list[Event], at_once: bool, *, between: bytes = b"") -> bytes:
    """Return what a reader in this format is sent, live or afterwards. between: after each write but the last."""
    stream = ReplyStream(ID, None)
    cursor = Cursor(stream, encoder_named(name)(str(ID)))
    ending = endings.payload(endings.completed("stop"), events.text_of(inside), None)
    writes: list[bytes] = []
    for event in [START_EVENT, *inside]:
        stream.append([event])
        if not at_once:
            writes += iter(cursor.next, None)
    stream.end(ending)
    return between.join([*writes, *iter(cursor.next, None)])


class HostileTextTests(SimpleTestCase):
    def test_each_format_is_entered(self):
        """If this fails, enter the new format in tests/encoders/formats.py."""
        assert FORMATS.keys() | WITHOUT_TEXT == set(formats())

    @given(_replies(), st.booleans())
    @example([Event(TEXT, "\r"), Event(TEXT, "\n")], False)
    @example([Event(TEXT, "\ufeffdata: [DONE]\n\n\x85\u2028")], True)
    @example([Event(REASONING, "a"), Event(TEXT, "\n"), Event(REASONING, "\n"), Event(TEXT, " ")], False)
    def test_the_same_text_and_events(self, inside: list[Event], at_once: bool):
        for name, form in FORMATS.items():
            stream = sent(name, inside, at_once)

            assert form.read(stream) == expected(name, inside), (name, stream)

    @given(_replies())
    def test_a_replay_has_the_bytes_of_the_live_stream_up_to_merging(self, inside: list[Event]):
        finished = list(events.from_parts(events.to_parts(inside)))
        for name in FORMATS:
            replayed = sent(name, finished, at_once=True)

            assert replayed == sent(name, list(events.merge(inside)), at_once=True), name
            assert FORMATS[name].read(replayed) == FORMATS[name].read(sent(name, inside, at_once=False)), name

    def test_heartbeats_have_no_blank_line(self):
        """`: ping` with a blank line makes fetch-event-source send the request again, and openai-python raise."""
        for name in formats():
            heartbeat = encoder_named(name).heartbeat

            assert heartbeat == b"" or (heartbeat.endswith(b"\n") and b"\n\n" not in b"\n" + heartbeat), name

    def test_heartbeats_change_nothing(self):
        reply = [Event(REASONING, "a"), Event(TEXT, "b"), Event(TEXT, "c")]
        for name, form in FORMATS.items():
            stream = sent(name, reply, at_once=False, between=encoder_named(name).heartbeat)

            assert form.read(stream) == expected(name, reply), name
