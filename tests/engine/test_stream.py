"""A reply's stream: what it holds, and whom it notifies."""

from concurrent.futures import ThreadPoolExecutor

from django.test import SimpleTestCase

from streaming_chat.engine.stream import ReplyStream
from streaming_chat.protocol.events import END, TEXT, Event
from tests.provider_server import TIMEOUT
from tests.servers import wait_until

from .streams import BEGIN, ENDED, stream_of


class Waiter:
    def __init__(self):
        self.wakes = 0

    def wake(self):
        self.wakes += 1


class StreamTests(SimpleTestCase):
    def test_a_closed_stream_takes_nothing_but_its_ending(self):
        stream = stream_of(Event(TEXT, "a"))
        stream.close()
        stream.append([Event(TEXT, "b")])
        stream.end(ENDED)

        assert stream.events == [BEGIN, Event(TEXT, "a"), Event(END, ENDED)]

    def test_each_change_wakes_readers_and_observers(self):
        stream = stream_of()
        reader, observer = Waiter(), Waiter()
        stream.attach(reader)
        stream.attach(observer, keeps_alive=False)
        stream.append([Event(TEXT, "a")])
        stream.end(ENDED)

        assert (reader.wakes, observer.wakes) == (3, 3)

    def test_a_reply_does_not_go_on_for_an_observer(self):
        follows = []
        stream = stream_of(on_follow=follows.append)
        reader, observer = Waiter(), Waiter()
        for waiter in (observer, reader):
            stream.attach(waiter, keeps_alive=waiter is reader)
        for waiter in (reader, observer):
            stream.detach(waiter)

        assert follows == [True, False]

    def test_a_cut_leaves_the_start(self):
        stream = stream_of(Event(TEXT, "abc"))
        stream.cut_at(0)

        assert stream.cut == 1

    def test_a_thread_can_wait_for_the_ending(self):
        for change, has_ended in ((lambda stream: stream.end(ENDED), True), (ReplyStream.dismiss, False)):
            with ThreadPoolExecutor(1) as pool:
                stream = stream_of(Event(TEXT, "a"))
                waiting = pool.submit(stream.wait_until_ended)
                wait_until(lambda stream=stream: stream.readers)
                change(stream)

                assert waiting.result(TIMEOUT) is has_ended
                assert not stream.readers

    def test_it_ends_once_and_nothing_follows(self):
        """A run that lost its claim may still hold half a tool call when it learns of its end."""
        stream = stream_of(Event(TEXT, "a"))
        stream.end(ENDED)
        stream.end({**ENDED, "status": "failed"})
        stream.append([Event(TEXT, "b")])

        assert stream.events == [BEGIN, Event(TEXT, "a"), Event(END, ENDED)]
        assert stream.position == 2
