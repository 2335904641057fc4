"""Tests of engine/follower.py; tests/test_resume.py and tests/test_processes.py have what readers see of it."""

import asyncio
import threading
from contextlib import closing, contextmanager

from django.test import TransactionTestCase

from streaming_chat.engine.follower import FollowedReply, Follower
from streaming_chat.engine.follower import follower as process_follower
from streaming_chat.models import LiveReply, ReplyEvent
from streaming_chat.protocol.events import END, TEXT, Event, text_of
from tests.factories import make_conversation, make_live, make_reply, make_user
from tests.servers import TIMEOUT, wait_until


class Reader:
    """Waits for nothing, and counts how often it was woken."""

    def __init__(self):
        self.wakes = 0

    def wake(self):
        self.wakes += 1


class HoldingRouter:
    """Lets the follower's thread wait where it asks for its database."""

    goes_on = threading.Event()
    is_held = threading.Event()

    def db_for_write(self, model, **hints):
        if threading.current_thread().name == "streaming_chat.follower":
            type(self).is_held.set()
            type(self).goes_on.wait(TIMEOUT)


class FollowerTestCase(TransactionTestCase):
    def setUp(self):
        self.live = make_live(make_conversation(), Event(TEXT, "Hel"))
        self.addCleanup(self.wait_until_idle)

    def wait_until_idle(self):
        assert process_follower.wait_until_idle(TIMEOUT)

    def loop(self):
        """Return an event loop that runs in a thread of its own, as that of a server."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        self.addCleanup(loop.close)
        self.addCleanup(thread.join)
        self.addCleanup(loop.call_soon_threadsafe, loop.stop)
        return loop

    def open(self, live=None, *, loop=None, **options):
        """Return a reply as this process sees it now; nothing follows it yet."""
        reply = FollowedReply((live or self.live).message, **options)
        reply.stream.loop = loop or self.loop()
        return reply

    def follow(self, reply):
        reader = Reader()
        reply.stream.attach(reader)
        self.addCleanup(reply.stream.detach, reader)
        return reader

    def save(self, text):
        position = 1 + sum(event.size for event in map(_as_event, ReplyEvent.objects.filter(message=self.live.message)))
        ReplyEvent.objects.create(message=self.live.message, position=position, kind=TEXT, payload=text)

    def delete_reply(self):
        LiveReply.objects.all().delete()
        self.live.message.conversation.delete()


class FollowedReplyTests(FollowerTestCase):
    def test_a_live_reply_holds_what_is_saved(self):
        reply = self.open()

        assert text_of(reply.stream.events) == "Hel"
        assert reply.next_start == 4
        assert not reply.stream.ended
        assert LiveReply.objects.get().followed_until is not None

    def test_a_reader_that_does_not_keep_it_alive_marks_nothing(self):
        self.open(keeps_alive=False)

        assert LiveReply.objects.get().followed_until is None

    def test_an_ended_reply_is_its_message(self):
        reply = FollowedReply(make_reply(make_conversation(), "It rains.", cut_position=3, status="stopped"))

        assert text_of(reply.stream.events) == "It"
        assert reply.stream.events[-1].kind == END
        assert reply.stream.events[-1].payload["status"] == "stopped"

    def test_a_deleted_reply_ends(self):
        message = self.live.message
        self.delete_reply()
        reply = FollowedReply(message)

        assert reply.stream.events[-1].payload["error_code"] == "forbidden"

    def test_carried_events_are_appended_once(self):
        """A notifier may carry what was read already, and carry something twice."""
        reply = self.open()

        assert reply.append_carried(1, [Event(TEXT, "Hello")])
        assert reply.append_carried(2, [Event(TEXT, "ello!")])
        assert text_of(reply.stream.events) == "Hello!"

    def test_early_events_wait_for_those_before_them(self):
        reply = self.open()
        assert not reply.append_carried(6, [Event(TEXT, "!")])
        assert text_of(reply.stream.events) == "Hel"

        assert reply.append_carried(4, [Event(TEXT, "lo")])
        self.save("lo")
        self.follow(reply)
        wait_until(lambda: text_of(reply.stream.events) == "Hello!")


class FollowerTests(FollowerTestCase):
    def test_a_reader_receives_what_is_saved_later(self):
        reply = self.open()
        self.follow(reply)
        self.save("lo")

        wait_until(lambda: text_of(reply.stream.events) == "Hello")

    def test_a_second_reader_that_has_read_more(self):
        self.check_both_receive_all(lambda early, late: [early, late])

    def test_a_second_reader_that_has_read_less(self):
        self.check_both_receive_all(lambda early, late: [late, early])

    def check_both_receive_all(self, order):
        """Two event loops follow one reply from different positions: it is read from the first of these."""
        early = self.open()
        self.save("lo, ")
        late = self.open()
        with self.held():
            for reply in order(early, late):
                self.follow(reply)
            self.save("world")
        wait_until(lambda: early.stream.position == late.stream.position == 13)

        assert text_of(early.stream.events) == text_of(late.stream.events) == "Hello, world"

    @contextmanager
    def held(self):
        """Hold the thread while it reads another reply, so that it meets all that is followed meanwhile at once."""
        HoldingRouter.goes_on.clear()
        HoldingRouter.is_held.clear()
        with self.settings(DATABASE_ROUTERS=["tests.engine.test_follower.HoldingRouter"]):
            other = self.open(make_live(make_conversation(make_user("another"))))
            process_follower.add(other)
            assert HoldingRouter.is_held.wait(TIMEOUT)
            try:
                yield
            finally:
                HoldingRouter.goes_on.set()
            process_follower.remove(other)

    def test_readers_of_one_loop_share_a_reply(self):
        first = self.open()
        self.follow(first)
        wait_until(lambda: process_follower.share(first) is first and first.stream.readers)
        same, elsewhere = self.open(loop=first.stream.loop), self.open()
        silent = self.open(loop=first.stream.loop, keeps_alive=False)

        assert process_follower.share(same) is first
        assert process_follower.share(elsewhere) is elsewhere
        assert process_follower.share(silent) is silent

    def test_a_deleted_reply_ends_for_its_readers(self):
        reply = self.open()
        self.follow(reply)
        self.delete_reply()

        wait_until(lambda: reply.stream.ended)

    def test_it_becomes_idle_when_the_last_reader_leaves(self):
        reply = self.open()
        reader = self.follow(reply)
        wait_until(lambda: not process_follower.wait_until_idle(0))
        reply.stream.detach(reader)

        assert process_follower.wait_until_idle(TIMEOUT)

    def test_a_loop_that_was_closed_is_not_followed_for(self):
        """Its server has stopped, and its readers are gone without having left."""
        with closing(asyncio.new_event_loop()) as loop:
            reply = self.open(loop=loop)
            process_follower.add(reply)

        assert process_follower.wait_until_idle(TIMEOUT)


class DismissedTests(FollowerTestCase):
    """A process that shuts down has no endings for its readers: they reconnect to another one."""

    def test_readers_are_dismissed(self):
        follower, reply = Follower(), self.open()
        follower.add(reply)
        self.addCleanup(follower.remove, reply)
        follower.dismiss()

        wait_until(lambda: reply.stream.dismissed)
        assert not reply.stream.ended

    def test_readers_that_come_later_are_dismissed_too(self):
        follower, reply = Follower(), self.open()
        follower.dismiss()
        follower.add(reply)
        self.addCleanup(follower.remove, reply)

        wait_until(lambda: reply.stream.dismissed)


def _as_event(row):
    return Event(row.kind, row.payload)
