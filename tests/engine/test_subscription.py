"""A reader's place among the readers of a stream and of this process."""

from django.test import SimpleTestCase

from streaming_chat.engine.subscription import Subscription

from .streams import stream_of
from .test_stream import Waiter


class SubscriptionTests(SimpleTestCase):
    def subscribe(self, **options):
        self.follows, self.calls = [], []
        self.stream = stream_of(on_follow=self.follows.append)

        def register(reader):
            self.calls.append(reader)
            return lambda: self.calls.append("left")

        return Subscription(self.stream, Waiter(), register=register, **{"keeps_alive": True, **options})

    def test_opening_registers_the_reader(self):
        subscription = self.subscribe()
        subscription.open("reader")

        assert (self.follows, self.calls) == ([True], ["reader"])

    def test_closing_leaves_once(self):
        subscription = self.subscribe()
        subscription.open("reader")
        closed = [subscription.close(), subscription.close()]

        assert closed == [True, False]
        assert (self.follows, self.calls) == ([True, False], ["reader", "left"])

    def test_closing_what_was_never_opened_changes_nothing(self):
        subscription = self.subscribe()
        subscription.close()

        assert (self.follows, self.calls) == ([], [])

    def test_a_reply_does_not_go_on_for_staff(self):
        subscription = self.subscribe(keeps_alive=False)
        subscription.open("reader")

        assert len(self.stream.observers) == 1
        assert self.follows == []
