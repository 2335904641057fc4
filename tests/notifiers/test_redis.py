"""The tail through Redis, with a real Valkey: what it carries, and that it may fail in any way at any time."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
import warnings

import psutil
import pytest
from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from streaming_chat.notifiers.redis.entries import RECENT, UNITS, Seal, cut
from streaming_chat.notifiers.redis.notifier import RedisNotifier
from streaming_chat.protocol.events import END, REASONING, START, TEXT, TOOL_CALL, Event, length, merge, text_of
from tests.servers import wait_until
from tests.valkey import Valkey

pytestmark = pytest.mark.once

CALL = Event(TOOL_CALL, {"id": "1", "name": "weather", "arguments": "{}", "complete": True})
DONE = Event(END, {"status": "completed"})


class Hearer:
    """What a process that follows hears; text is taken by position, as the app's own follower does."""

    def __init__(self):
        self.news_of = []
        self.carried = []
        self.summonses = []
        self.position = 1
        self.events = []

    def news(self, message_ids):
        self.news_of.extend(message_ids)

    def received(self, message_id, position, events):
        self.carried.append((message_id, position, events))
        if position == self.position:
            self.events.extend(events)
            self.position += length(events)

    def woken(self, message_ids):
        self.summonses.extend(message_ids)

    @property
    def text(self):
        return text_of(self.events)

    @property
    def last_text(self):
        return text_of(self.carried[-1][2]) if self.carried else ""


class Tails:
    """A Valkey, a process that writes a reply and one that follows it: two tails, which share nothing."""

    options = {}

    def setUp(self):
        super().setUp()
        self.valkey = Valkey().start()
        self.addCleanup(self.valkey.close)
        self.writing = self.tail(**self.options)
        self.following = self.tail(**self.options)
        self.reply = uuid.uuid4()
        self.events = [Event(START, {})]
        self.hearer = Hearer()

    def tail(self, url="", **options):
        tail = RedisNotifier(url or self.valkey.url, **options)
        self.addCleanup(tail.close)
        return tail

    def subscribe(self):
        self.following.subscribe(self.reply, self.hearer, "default")
        wait_until(lambda: self.following.is_connected)

    def begin(self):
        """Follow the reply, and feed it."""
        self.subscribe()
        self.writing.publish(self.reply, self.events)
        wait_until(lambda: self.writing.is_connected)

    def say(self, text):
        self.events.append(Event(TEXT, text))

    def arrives(self, text):
        """Say it, and wait until it is heard."""
        self.say(text)
        wait_until(lambda: self.hearer.last_text.endswith(text))

    def local_ports(self):
        """Return where this process's connections to the server begin."""
        connections = psutil.Process().net_connections("tcp")
        return {each.laddr.port for each in connections if each.raddr and each.raddr.port == self.valkey.port}

    def wait_until_deaf(self):
        wait_until(lambda: not self.writing.is_connected and not self.following.is_connected)

    def wait_until_healed(self):
        wait_until(lambda: self.writing.is_connected and self.following.is_connected)

    @property
    def key(self):
        return f"streaming_chat:{{{self.reply.hex}}}"


class CarryingTests(Tails, SimpleTestCase):
    def test_events_arrive_in_order_at_their_positions(self):
        """Start and ending are not carried: followers know the one, and the database has the other."""
        self.begin()
        written = [Event(TEXT, "Naïve "), Event(REASONING, "🌧?"), CALL, Event(TEXT, "☀"), Event(TEXT, " 日本")]
        for event in written:
            self.events.append(event)
            wait_until(lambda: self.hearer.position == length(self.events))
        self.events.append(DONE)
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: self.valkey.command("PTTL", self.key) <= 10_000)

        assert self.hearer.events == written
        assert [position for _reply, position, _events in self.hearer.carried] == [1, 7, 9, 10, 11]

    def test_neighbours_go_as_one_event(self):
        for letter in "Hello":
            self.say(letter)
        self.begin()
        wait_until(lambda: self.hearer.carried)

        assert self.hearer.carried == [(self.reply, 1, [Event(TEXT, "Hello")])]

    def test_who_comes_later_hears_what_was_carried_before(self):
        self.begin()
        self.arrives("Hello")
        self.arrives(", world")
        later = Hearer()
        third = self.tail()
        third.subscribe(self.reply, later, "default")
        wait_until(lambda: later.text == "Hello, world")

    def test_following_again_begins_again(self):
        """Another event loop of the same process began to follow: it has none of it."""
        self.begin()
        self.arrives("Hello")
        again = Hearer()
        self.following.subscribe(self.reply, again, "default")
        wait_until(lambda: again.text == "Hello")

    def test_the_last_words_go_before_the_stream_is_left(self):
        self.begin()
        self.say("Goodbye")
        self.events.append(DONE)
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: self.hearer.text == "Goodbye")

    def test_a_stream_that_was_left_is_made_anew(self):
        """Its positions begin before those it held: without that Redis would refuse them."""
        self.begin()
        self.arrives("Hello")
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: self.valkey.command("PTTL", self.key) <= 10_000)
        self.say(", world")
        self.writing.publish(self.reply, self.events)
        wait_until(lambda: self.hearer.last_text == "Hello, world")

    def test_only_the_end_of_a_long_reply_is_carried_in_small_entries(self):
        """A reply of 1 MB: what is older than half a second, the database has."""
        text = "".join(chr(97 + at % 26) for at in range(1_000_000))
        self.say(text)
        self.begin()
        wait_until(lambda: self.hearer.carried and self.hearer.carried[-1][1] + len(self.hearer.last_text) == 1_000_001)

        assert "".join(text_of(events) for _reply, _at, events in self.hearer.carried) == text[-RECENT:]
        assert self.hearer.carried[0][1] == 1_000_001 - RECENT
        assert max(length(events) for _reply, _at, events in self.hearer.carried) == UNITS

    def test_each_reply_reaches_its_followers_only(self):
        self.begin()
        other = uuid.uuid4()
        self.writing.publish(other, [Event(START, {}), Event(TEXT, "Of another")])
        self.arrives("Mine")

        assert {reply for reply, _at, _events in self.hearer.carried} == {self.reply}

    def test_nothing_is_heard_of_what_is_not_followed_any_more(self):
        self.begin()
        self.arrives("Hello")
        self.following.unsubscribe(self.reply)
        wait_until(lambda: self.valkey.command("PUBSUB", "NUMSUB", f"{self.key}:signal")[1] == 0)
        self.say(", world")
        wait_until(lambda: self.valkey.command("XLEN", self.key) == 2)

        assert self.hearer.text == "Hello"


class BoundsTests(Tails, SimpleTestCase):
    options = {"max_entries": 10, "expire_seconds": 1.5}

    def test_a_stream_holds_no_more_than_it_may(self):
        """`MAXLEN ~` drops whole nodes, of 100 entries each."""
        self.begin()
        for at in range(150):
            self.arrives(f"{at};")

        assert self.valkey.command("XLEN", self.key) <= 110

    def test_text_leaves_redis_by_itself(self):
        """Also when the process that wrote it is gone: nobody deletes it."""
        self.begin()
        self.arrives("Secret")

        assert 0 < self.valkey.command("PTTL", self.key) <= 1_500

        wait_until(lambda: not self.valkey.command("KEYS", "*"))
        self.arrives("Said after a silence")


class TellingTests(Tails, TransactionTestCase):
    def test_followers_are_told_after_the_commit(self):
        self.subscribe()
        wait_until(lambda: self.hearer.news_of)
        self.hearer.news_of.clear()
        with transaction.atomic():
            self.writing.notify_on_commit("default", [self.reply])
            self.writing.wake("default", "nobody", self.reply)
            wait_until(lambda: self.writing.is_connected)

            assert not self.hearer.news_of

        wait_until(lambda: self.hearer.news_of == [self.reply])

    def test_nobody_is_told_of_what_was_rolled_back(self):
        other = uuid.uuid4()
        self.subscribe()
        self.following.subscribe(other, self.hearer, "default")
        wait_until(lambda: set(self.hearer.news_of) == {self.reply, other})
        self.hearer.news_of.clear()
        with transaction.atomic():
            self.writing.notify_on_commit("default", [self.reply])
            transaction.set_rollback(True)
        with transaction.atomic():
            self.writing.notify_on_commit("default", [other])
        wait_until(lambda: self.hearer.news_of)

        assert self.hearer.news_of == [other]

    def test_a_worker_is_summoned_from_elsewhere(self):
        self.writing.listen("one", self.hearer.woken, "default")
        wait_until(lambda: self.writing.is_connected)
        self.following.wake("default", "another", uuid.uuid4())
        self.following.wake("default", "one", self.reply)
        wait_until(lambda: self.hearer.summonses)

        assert self.hearer.summonses == [self.reply]

        self.writing.stop_listening()
        wait_until(lambda: self.valkey.command("PUBSUB", "NUMSUB", "streaming_chat:worker:one")[1] == 0)

    def test_a_thousand_are_told_at_once(self):
        others = [uuid.uuid4() for _each in range(1_000)]
        for other in others:
            self.following.subscribe(other, self.hearer, "default")
        wait_until(lambda: len(self.hearer.news_of) >= 1_000)
        self.hearer.news_of.clear()
        with transaction.atomic():
            self.writing.notify_on_commit("default", others)
        wait_until(lambda: set(self.hearer.news_of) == set(others))


class FaultTests(Tails, SimpleTestCase):
    """What Redis does costs latency: nobody gets an error, and it heals by itself."""

    def test_emptied(self):
        """The next entry finds no stream, and makes it anew, with its time to live."""
        self.begin()
        self.arrives("Hello")
        self.valkey.flush()
        self.arrives(", world")

        assert self.hearer.text == "Hello, world"
        assert self.valkey.command("PTTL", self.key) > 0

    def test_killed_and_started_again(self):
        self.begin()
        self.arrives("Hello")
        with self.assertLogs("streaming_chat", "INFO") as logs:
            self.valkey.kill()
            self.wait_until_deaf()
            self.hearer.news_of.clear()
            self.say(", ")
            self.valkey.start()
            self.wait_until_healed()
            self.arrives("world")

        assert self.hearer.text == "Hello, world"
        # Of each tail one warning and one line that it is over.
        assert [record.levelname for record in logs.records] == ["WARNING"] * 2 + ["INFO"] * 2
        wait_until(lambda: self.reply in self.hearer.news_of)

    def test_paused(self):
        """Connections stand, and nothing answers; who follows is told to look at the database."""
        self.begin()
        self.arrives("Hello")
        self.hearer.news_of.clear()
        with self.assertLogs("streaming_chat", "WARNING"):
            self.valkey.pause()
            self.wait_until_deaf()
        wait_until(lambda: self.hearer.news_of)
        self.say(", world")
        self.valkey.resume()
        wait_until(lambda: self.hearer.text == "Hello, world")
        self.wait_until_healed()

    def test_paused_for_longer_than_connections_stand(self):
        self.begin()
        with self.assertLogs("streaming_chat", "INFO") as logs:
            first = self.local_ports()
            self.valkey.pause()
            wait_until(lambda: not first & self.local_ports())
            self.valkey.resume()
            self.wait_until_healed()

        assert [record.levelname for record in logs.records] == ["WARNING"] * 2 + ["INFO"] * 2
        self.arrives("Hello")

    def test_slow(self):
        self.begin()
        self.valkey.command("CLIENT", "PAUSE", 1_500, "ALL")
        self.arrives("Hello")
        self.wait_until_healed()

    def test_its_connections_are_closed_by_the_server(self):
        self.begin()
        with self.assertLogs("streaming_chat", "WARNING"):
            self.valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
            self.valkey.command("CLIENT", "KILL", "TYPE", "normal")
            self.wait_until_deaf()
        self.wait_until_healed()
        self.arrives("Hello")

    def test_out_of_memory(self):
        """Entries are refused, also those that would make a stream; what is published is not."""
        self.begin()
        self.arrives("Hello")
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            self.valkey.command("CONFIG", "SET", "maxmemory", "1")
            other = [Event(START, {}), Event(TEXT, "Another")]
            self.writing.publish(uuid.uuid4(), other)
            self.say(", ")
            wait_until(lambda: logs.records)

            assert self.writing.is_connected

            self.valkey.command("CONFIG", "SET", "maxmemory", "0")
            self.arrives("world")

        assert self.hearer.text == "Hello, world"
        assert len(logs.records) == 1

    def test_a_key_of_another_type(self):
        self.valkey.command("SET", self.key, "what is this?")
        self.begin()
        self.arrives("Hello")
        self.valkey.command("DEL", self.key)
        self.valkey.command("SET", self.key, "and this?")
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            self.say(", ")
            wait_until(lambda: logs.records)
        self.valkey.command("DEL", self.key)
        self.arrives("world")

        assert self.hearer.text == "Hello, world"

    def test_wrong_password(self):
        self.valkey.command("CONFIG", "SET", "requirepass", "secret")
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            self.following.subscribe(self.reply, self.hearer, "default")
            wait_until(lambda: logs.records)
        right = self.tail(self.valkey.url.replace("//", "//:secret@"))
        right.subscribe(self.reply, self.hearer, "default")
        wait_until(lambda: right.is_connected)

        assert not self.following.is_connected
        assert "Authentication" in logs.output[0]

    def test_nobody_is_there(self):
        """One warning however often it is tried, and no method waits or raises."""
        attempts = []
        closing = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(closing.close)
        threading.Thread(target=_close_what_comes, args=(closing, attempts), daemon=True).start()
        nowhere = self.tail(f"redis://127.0.0.1:{closing.getsockname()[1]}/0")
        with self.assertLogs("streaming_chat", "INFO") as logs:
            nowhere.subscribe(self.reply, self.hearer, "default")
            nowhere.listen("one", self.hearer.woken, "default")
            nowhere.publish(self.reply, self.events)
            nowhere.wake("default", "one", self.reply)
            wait_until(lambda: self.hearer.news_of and len(attempts) > 3)
            nowhere.stop_publishing(self.reply)
            nowhere.unsubscribe(self.reply)
            nowhere.stop_listening()

        assert len(logs.records) == 1
        assert not nowhere.is_connected

    def test_nothing_waits_for_it(self):
        self.begin()
        self.valkey.pause()
        self.wait_until_deaf()
        began = time.monotonic()
        for _each in range(200):
            other = uuid.uuid4()
            self.writing.publish(other, self.events)
            self.writing.stop_publishing(other)
            self.writing.wake("default", "one", other)
            self.writing.subscribe(other, self.hearer, "default")
            self.writing.unsubscribe(other)
        took = time.monotonic() - began

        assert took < 1, f"1,000 calls took {took:.2f} s"

    def test_what_ends_while_it_is_away_is_not_kept(self):
        self.begin()
        self.valkey.kill()
        self.wait_until_deaf()
        self.say("Hello")
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: not self.writing._link._feeds)

    def test_what_a_follower_raises_does_not_end_the_thread(self):
        self.begin()
        broken = Hearer()
        broken.received = None
        other, others = uuid.uuid4(), [Event(START, {}), Event(TEXT, "Hello")]
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            self.following.subscribe(other, broken, "default")
            self.writing.publish(other, others)
            wait_until(lambda: logs.records)
        self.arrives("Still here")


class ForeignTests(Tails, SimpleTestCase):
    """Who can write to Redis can put nothing into a reply."""

    def setUp(self):
        super().setUp()
        self.begin()
        self.arrives("Mine")

    def add(self, position, field, value):
        self.valkey.command("XADD", self.key, f"{position}-0", field, value)
        self.valkey.command("PUBLISH", f"{self.key}:signal", "more")

    def test_what_is_not_sealed_is_ignored(self):
        forged = b"0" * 16 + json.dumps([[TEXT, "Forged"]]).encode()
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            for position, (field, value) in enumerate([("e", forged), ("e", ""), ("x", "y"), ("e", b"\xff" * 99)], 5):
                self.add(position, field, value)
            self.add(2**64 - 1, "e", forged)
            wait_until(lambda: self.following._link._followed._last[self.reply] == 2**64 - 1)

        assert self.hearer.text == "Mine"
        assert len(logs.records) == 1

    def test_an_entry_of_another_reply_or_position_is_ignored(self):
        seal = Seal(["the tests' own"])
        other = uuid.uuid4()
        with override_settings(SECRET_KEY="the tests' own"):
            following = self.tail()
            following.subscribe(self.reply, self.hearer, "default")
            wait_until(lambda: following.is_connected)
        self.add(5, "e", seal.close(other, 5, [Event(TEXT, "Of another reply")]))
        self.add(6, "e", seal.close(self.reply, 5, [Event(TEXT, "Of another position")]))
        self.add(7, "e", seal.close(self.reply, 7, [Event(TEXT, "Of the right ones")]))
        wait_until(lambda: self.hearer.last_text == "Of the right ones")

        assert [at for _reply, at, _events in self.hearer.carried] == [1, 7]

    def test_strange_words_on_the_channels_do_no_harm(self):
        self.writing.listen("one", self.hearer.woken, "default")
        wait_until(lambda: self.valkey.command("PUBSUB", "NUMSUB", "streaming_chat:worker:one")[1] == 1)
        for word in ("", "x" * 1_000, b"\xff", "{}"):
            self.valkey.command("PUBLISH", "streaming_chat:worker:one", word)
            self.valkey.command("PUBLISH", f"{self.key}:signal", word)
        self.following.wake("default", "one", self.reply)
        wait_until(lambda: self.hearer.summonses)
        self.arrives("!")

        assert self.hearer.summonses == [self.reply]
        assert self.hearer.text == "Mine!"


class LifeTests(Tails, SimpleTestCase):
    def test_there_is_no_thread_before_it_is_used_nor_after_it_is_closed(self):
        # One of an earlier test may be about to end.
        wait_until(lambda: "streaming_chat.tail" not in _threads())

        self.begin()

        assert _threads().count("streaming_chat.tail") == 2

        self.writing.close()
        self.following.close()

        assert "streaming_chat.tail" not in _threads()
        wait_until(lambda: self._connections() == 1)

    def test_it_takes_two_connections(self):
        self.begin()
        self.arrives("Hello")

        assert self._connections() == 1 + 2 * 2

    def test_a_child_of_a_fork_has_its_own(self):
        """And leaves the parent's alone, whose sockets it has inherited."""
        self.begin()
        self.arrives("Hello")
        with warnings.catch_warnings(action="ignore"):  # Python 3.12 warns of what is tried here.
            pid = os.fork()
        if pid == 0:
            os._exit(self._in_child())
        _pid, status = os.waitpid(pid, 0)

        assert os.waitstatus_to_exitcode(status) == 0

        self.arrives(", world")

        assert self.following.is_connected

    def test_its_address_is_checked_when_it_is_made(self):
        with self.assertRaisesRegex(ValueError, "url must begin with"):
            RedisNotifier("http://user:secret@example.com")

    def _in_child(self):
        self.following.reset()
        child = Hearer()
        self.following.subscribe(self.reply, child, "default")
        deadline = time.monotonic() + 10
        while child.text != "Hello" and time.monotonic() < deadline:
            time.sleep(0.01)
        return 0 if child.text == "Hello" else 1

    def _connections(self):
        """How many the server has, the one that asks included."""
        return int(self.valkey.command("INFO", "clients")["connected_clients"])


class EntryTests(SimpleTestCase):
    def test_a_cut_stream_is_the_stream(self):
        events = [Event(TEXT, "x" * 5_000), CALL, Event(REASONING, "y" * 100), Event(TEXT, "z" * 9_000), DONE]
        groups = list(cut(events, 10))

        assert [at for at, _group in groups] == [
            10 + sum(length(group) for _at, group in groups[:n]) for n in range(len(groups))
        ]
        assert max(length(group) for _at, group in groups) == UNITS
        assert list(merge(event for _at, group in groups for event in group)) == events[:-1]

    def test_no_entry_for_a_call_that_is_too_long(self):
        call = Event(TOOL_CALL, {"arguments": "x" * 300_000})

        assert Seal(["key"]).close(uuid.uuid4(), 1, [call]) == b""

    def test_a_former_key_opens_too(self):
        reply = uuid.uuid4()
        entry = Seal(["old"]).close(reply, 1, [Event(TEXT, "Hello")])

        assert Seal(["new", "old"]).open(reply, 1, entry) == [Event(TEXT, "Hello")]
        with self.assertRaisesRegex(ValueError, "no valid seal"):
            Seal(["new"]).open(reply, 1, entry)


def _close_what_comes(server, attempts):
    with contextlib.suppress(OSError):
        while True:
            connection, _address = server.accept()
            connection.close()
            attempts.append(1)


def _threads():
    return [thread.name for thread in threading.enumerate()]
