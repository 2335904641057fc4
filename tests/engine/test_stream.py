"""A reply's stream: what it holds, and whom it notifies."""

from django.test import SimpleTestCase

from streaming_chat.protocol.events import END, TEXT, Event

from .streams import BEGIN, ENDED, stream_of


class StreamTests(SimpleTestCase):
    def test_it_ends_once_and_nothing_follows(self):
        """A run that lost its claim may still hold half a tool call when it learns of its end."""
        stream = stream_of(Event(TEXT, "a"))
        stream.end(ENDED)
        stream.end({**ENDED, "status": "failed"})
        stream.append([Event(TEXT, "b")])

        assert stream.events == [BEGIN, Event(TEXT, "a"), Event(END, ENDED)]
        assert stream.position == 2
