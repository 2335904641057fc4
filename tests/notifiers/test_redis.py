"""RedisNotifier with a real Valkey: what it carries, and that Redis may fail in any way at any time."""

import asyncio
import contextlib
import os
import socket
import threading
import time
import uuid
import warnings

import psutil
import pytest
import redis.asyncio
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase

from streaming_chat.notifiers.redis import RedisNotifier
from streaming_chat.notifiers.redis_streams import CHANGED, Notification, decode_events, encode_events
from streaming_chat.protocol.events import END, REASONING, START, TEXT, TOOL_CALL, Event, after, length, text_of
from tests.servers import wait_until
from tests.valkey import Valkey

pytestmark = [pytest.mark.any_database, pytest.mark.slow]

CALL = Event(TOOL_CALL, {"id": "1", "name": "weather", "arguments": "{}", "complete": True})
DONE = Event(END, {"status": "completed"})


class Receiver:
    """Records what a process that follows receives; takes text by position, as the app's own follower does."""

    def __init__(self):
        self.changed = []
        self.received = []
        self.woken = []
        self.position = 1
        self.events = []

    def rows_changed(self, message_ids):
        self.changed.extend(message_ids)

    def events_received(self, message_id, position, events):
        self.received.append((message_id, position, events))
        if position <= self.position:
            new = list(after(events, self.position, position))
            self.events.extend(new)
            self.position += length(new)

    def wake(self, message_ids):
        self.woken.extend(message_ids)

    @property
    def text(self):
        return text_of(self.events)

    @property
    def last_text(self):
        return text_of(self.received[-1][2]) if self.received else ""


class TwoNotifiers:
    """A Valkey, and the notifiers of a process that writes a reply and of one that follows it; they share nothing."""

    options = {}

    def setUp(self):
        super().setUp()
        self.valkey = Valkey().start()
        self.addCleanup(self.valkey.close)
        self.writing = self.notifier(**self.options)
        self.following = self.notifier(**self.options)
        self.reply = uuid.uuid4()
        self.events = [Event(START, {})]
        self.receiver = Receiver()

    def notifier(self, url="", **options):
        notifier = RedisNotifier(url or self.valkey.url, **options)
        self.addCleanup(notifier.close)
        return notifier

    def subscribe(self):
        self.following.subscribe(self.reply, self.receiver, "default")
        wait_until(lambda: self.following.is_connected)

    def begin(self):
        """Follow the reply, and publish it."""
        self.subscribe()
        self.writing.publish(self.reply, self.events)
        wait_until(lambda: self.writing.is_connected)

    def say(self, text):
        self.events.append(Event(TEXT, text))

    def arrives(self, text):
        """Say it, and wait until it is received."""
        self.say(text)
        wait_until(lambda: self.receiver.last_text.endswith(text))

    def local_ports(self):
        """Return where this process's connections to the server begin."""
        connections = psutil.Process().net_connections("tcp")
        return {each.laddr.port for each in connections if each.raddr and each.raddr.port == self.valkey.port}

    def wait_until_disconnected(self):
        wait_until(lambda: not self.writing.is_connected and not self.following.is_connected)

    def wait_until_connected(self):
        wait_until(lambda: self.writing.is_connected and self.following.is_connected)

    @property
    def key(self):
        return f"{{streaming_chat}}:reply:{self.reply.hex}"


@pytest.mark.once
class CarryingTests(TwoNotifiers, SimpleTestCase):
    def test_events_arrive_in_order_at_their_positions(self):
        """Start and ending are not carried: followers know the one, and the database has the other."""
        self.begin()
        written = [Event(TEXT, "Naïve "), Event(REASONING, "🌧?"), CALL, Event(TEXT, "☀"), Event(TEXT, " 日本")]
        for event in written:
            self.events.append(event)
            wait_until(lambda: self.receiver.position == length(self.events))
        self.events.append(DONE)
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: self.valkey.command("PTTL", self.key) <= 10_000)

        assert self.receiver.events == written
        assert [position for _reply, position, _events in self.receiver.received] == [1, 7, 9, 10, 11]

    def test_neighbours_go_as_one_event(self):
        for letter in "Hello":
            self.say(letter)
        self.begin()
        wait_until(lambda: self.receiver.received)

        assert self.receiver.received == [(self.reply, 1, [Event(TEXT, "Hello")])]

    def test_a_later_subscriber_receives_what_was_carried_before(self):
        self.begin()
        self.arrives("Hello")
        self.arrives(", world")
        later = Receiver()
        third = self.notifier()
        third.subscribe(self.reply, later, "default")
        wait_until(lambda: later.text == "Hello, world")

    def test_subscribing_again_begins_again(self):
        """Another event loop of the same process began to follow: it has nothing yet."""
        self.begin()
        self.arrives("Hello")
        again = Receiver()
        self.following.subscribe(self.reply, again, "default")
        wait_until(lambda: again.text == "Hello")

    def test_the_last_words_go_before_the_stream_is_left(self):
        self.begin()
        self.say("Goodbye")
        self.events.append(DONE)
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: self.receiver.text == "Goodbye")

    def test_publishing_again_begins_again(self):
        """Subscribers of the first time cut off what they have."""
        self.begin()
        self.arrives("Hello")
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: self.valkey.command("PTTL", self.key) <= 10_000)
        self.say(", world")
        self.writing.publish(self.reply, self.events)
        wait_until(lambda: self.receiver.last_text == "Hello, world")

        assert self.valkey.command("PTTL", self.key) > 10_000

    def test_only_the_end_of_a_long_reply_is_carried(self):
        """A reply of 1 MB: what is older than half a second, the database has."""
        text = "".join(chr(97 + at % 26) for at in range(1_000_000))
        self.say(text)
        self.begin()
        wait_until(lambda: self.receiver.received)

        assert self.receiver.received == [(self.reply, 1_000_001 - 16_384, [Event(TEXT, text[-16_384:])])]

    def test_a_tool_call_that_is_too_long_is_left_to_the_database(self):
        self.events.append(Event(TOOL_CALL, {"arguments": "x" * 300_000}))
        self.writing.publish(self.reply, self.events)
        wait_until(lambda: not self.writing._publications[self.reply].is_due)
        self.subscribe()
        self.arrives("Hello")

        assert self.receiver.received == [(self.reply, 2, [Event(TEXT, "Hello")])]

    def test_each_reply_reaches_its_subscribers_only(self):
        self.begin()
        other = uuid.uuid4()
        self.writing.publish(other, [Event(START, {}), Event(TEXT, "Of another")])
        self.arrives("Mine")

        assert {reply for reply, _at, _events in self.receiver.received} == {self.reply}

    def test_nothing_is_received_after_unsubscribing(self):
        self.begin()
        self.arrives("Hello")
        self.following.unsubscribe(self.reply)
        other = Receiver()
        third = self.notifier()
        third.subscribe(self.reply, other, "default")
        self.say(", world")
        wait_until(lambda: other.text == "Hello, world")

        assert self.receiver.text == "Hello"


@pytest.mark.once
class BoundsTests(TwoNotifiers, SimpleTestCase):
    options = {"expire_seconds": 1.5}

    def test_a_stream_holds_a_bounded_number_of_entries(self):
        """`MAXLEN ~` drops whole nodes, of up to 100 entries each."""
        self.begin()
        for at in range(400):
            self.arrives(f"{at};")

        assert self.valkey.command("XLEN", self.key) <= 356

    def test_text_expires_in_redis(self):
        """Also if the process that wrote it is gone: nobody deletes it."""
        self.begin()
        self.arrives("Secret")

        assert 0 < self.valkey.command("PTTL", self.key) <= 1_500

        wait_until(lambda: not self.valkey.command("EXISTS", self.key))
        self.arrives("Said after a silence")

    def test_nothing_stays_in_redis(self):
        self.begin()
        self.writing.wake("default", "nobody", self.reply)
        self.arrives("Hello")
        keys = self.valkey.command("KEYS", "*")

        assert len(keys) == 4
        assert all(0 < self.valkey.command("PTTL", key) <= 10_000 for key in keys)


class NotifyingTests(TwoNotifiers, TransactionTestCase):
    def test_subscribers_are_notified_after_the_commit(self):
        self.subscribe()
        wait_until(lambda: self.receiver.changed)
        self.receiver.changed.clear()
        with transaction.atomic():
            self.writing.notify_on_commit("default", [self.reply])
            self.writing.wake("default", "nobody", self.reply)
            wait_until(lambda: self.writing.is_connected)

            assert not self.receiver.changed

        wait_until(lambda: self.receiver.changed == [self.reply])

    def test_nobody_is_notified_of_what_was_rolled_back(self):
        other = uuid.uuid4()
        self.subscribe()
        wait_until(lambda: self.receiver.changed == [self.reply])
        self.receiver.changed.clear()
        self.following.subscribe(other, self.receiver, "default")
        with transaction.atomic():
            self.writing.notify_on_commit("default", [self.reply])
            transaction.set_rollback(True)
        with transaction.atomic():
            self.writing.notify_on_commit("default", [other])
        wait_until(lambda: self.receiver.changed)

        assert self.receiver.changed == [other]

    def test_a_worker_is_woken_from_elsewhere(self):
        self.writing.listen("one", self.receiver.wake, "default")
        wait_until(lambda: self.writing.is_connected)
        self.following.wake("default", "another", uuid.uuid4())
        self.following.wake("default", "one", self.reply)
        wait_until(lambda: self.receiver.woken)

        assert self.receiver.woken == [self.reply]

    def test_a_worker_that_writes_nothing_is_not_woken(self):
        self.writing.listen("one", self.receiver.wake, "default")
        self.writing.stop_listening()
        self.following.wake("default", "one", self.reply)
        self.begin()
        self.arrives("Hello")

        assert self.receiver.woken == []

    def test_a_thousand_notifications_at_once(self):
        self.subscribe()
        wait_until(lambda: self.receiver.changed == [self.reply])
        others = {uuid.uuid4() for _each in range(1_000)}
        for other in others:
            self.following.subscribe(other, self.receiver, "default")
        with transaction.atomic():
            self.writing.notify_on_commit("default", list(others))
        wait_until(lambda: set(self.receiver.changed) == {self.reply, *others})

    async def test_a_notification_is_sent_again_if_it_is_repeated_meanwhile(self):
        """The first may have been read before the second commit."""
        notification = Notification(self.key.encode(), CHANGED)
        self.writing._notifications.add(notification)
        self.writing._next_heartbeat = float("inf")
        self.valkey.command("CLIENT", "PAUSE", 60_000, "WRITE")
        async with redis.asyncio.Redis.from_url(self.valkey.url) as client:
            sending = asyncio.create_task(self.writing._send_notifications(client))
            await asyncio.to_thread(wait_until, self.is_a_client_blocked)
            self.writing._notifications.add(notification)
            self.valkey.command("CLIENT", "UNPAUSE")
            await sending

        assert self.writing._notifications == {notification}

    def is_a_client_blocked(self):
        return self.valkey.command("INFO", "clients")["blocked_clients"]


@pytest.mark.once
class FaultTests(TwoNotifiers, SimpleTestCase):
    """What Redis does costs latency: nobody gets an error, and it heals by itself."""

    def test_emptied(self):
        """The next entry makes the stream anew, with its expiry."""
        self.begin()
        self.arrives("Hello")
        self.valkey.flush()
        self.arrives(", world")

        assert self.receiver.text == "Hello, world"
        assert self.valkey.command("PTTL", self.key) > 0

    def test_killed_and_started_again(self):
        self.begin()
        self.arrives("Hello")
        with self.assertLogs("streaming_chat", "INFO") as logs:
            self.valkey.kill()
            self.wait_until_disconnected()
            self.receiver.changed.clear()
            self.say(", ")
            self.valkey.start()
            self.wait_until_connected()
            self.arrives("world")

        assert self.receiver.text == "Hello, world"
        # Each notifier logs one warning, and one line when it is over.
        assert [record.levelname for record in logs.records] == ["WARNING"] * 2 + ["INFO"] * 2
        wait_until(lambda: self.reply in self.receiver.changed)

    def test_paused(self):
        """Connections stand, and nothing answers; followers are told to read the database."""
        self.begin()
        self.arrives("Hello")
        self.receiver.changed.clear()
        with self.assertLogs("streaming_chat", "WARNING"):
            self.valkey.pause()
            self.wait_until_disconnected()
            wait_until(lambda: self.receiver.changed)
        self.say(", world")
        self.valkey.resume()
        wait_until(lambda: self.receiver.text == "Hello, world")
        self.wait_until_connected()

    def test_paused_for_longer_than_connections_stand(self):
        self.begin()
        with self.assertLogs("streaming_chat", "INFO") as logs:
            first = self.local_ports()
            self.valkey.pause()
            wait_until(lambda: not first & self.local_ports())
            self.valkey.resume()
            self.wait_until_connected()

        assert [record.levelname for record in logs.records] == ["WARNING"] * 2 + ["INFO"] * 2
        self.arrives("Hello")

    def test_slow(self):
        self.begin()
        self.valkey.command("CLIENT", "PAUSE", 1_500, "ALL")
        self.arrives("Hello")
        self.wait_until_connected()

    def test_its_connections_are_closed_by_the_server(self):
        """Each may be connected again before the other has noticed."""
        self.begin()
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            self.valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            wait_until(lambda: len(logs.records) == 2)
        self.wait_until_connected()
        self.arrives("Hello")

    def test_out_of_memory(self):
        """Entries are refused, heartbeats too: until they are taken again, followers read the database."""
        self.begin()
        self.arrives("Hello")
        with self.assertLogs("streaming_chat", "INFO") as logs:
            self.valkey.command("CONFIG", "SET", "maxmemory", "1")
            self.wait_until_disconnected()
            self.say(", ")
            self.valkey.command("CONFIG", "SET", "maxmemory", "0")
            self.wait_until_connected()
            self.arrives("world")

        assert self.receiver.text == "Hello, world"
        assert [record.levelname for record in logs.records] == ["WARNING"] * 2 + ["INFO"] * 2
        assert "OutOfMemoryError" in logs.output[0]

    def test_a_server_that_became_a_replica(self):
        """A failover: it answers, and refuses every entry."""
        self.begin()
        with self.assertLogs("streaming_chat", "INFO") as logs:
            self.valkey.command("REPLICAOF", "127.0.0.1", 1)
            self.wait_until_disconnected()
            self.valkey.command("REPLICAOF", "NO", "ONE")
            self.wait_until_connected()

        assert [record.levelname for record in logs.records] == ["WARNING"] * 2 + ["INFO"] * 2
        self.arrives("Hello")

    def test_a_key_of_another_type(self):
        """The reply's events are lost, those of others are not; the database has them."""
        self.writing.publish(self.reply, self.events)
        wait_until(lambda: self.writing.is_connected)
        self.valkey.command("SET", self.key, "not a stream")
        other, events, receiver = uuid.uuid4(), [Event(START, {})], Receiver()
        self.following.subscribe(other, receiver, "default")
        self.writing.publish(other, events)
        self.say("Hello")
        events.append(Event(TEXT, "Of the other"))
        wait_until(lambda: receiver.text == "Of the other")
        self.valkey.command("DEL", self.key)
        self.subscribe()
        self.arrives(", world")

        assert self.receiver.received == [(self.reply, 6, [Event(TEXT, ", world")])]
        assert self.writing.is_connected

    def test_wrong_password(self):
        self.valkey.command("CONFIG", "SET", "requirepass", "secret")
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            self.following.subscribe(self.reply, self.receiver, "default")
            wait_until(lambda: logs.records)
        right = self.notifier(self.valkey.url.replace("//", "//:secret@"))
        right.subscribe(self.reply, self.receiver, "default")
        wait_until(lambda: right.is_connected)

        assert not self.following.is_connected
        assert "Authentication" in logs.output[0]

    def test_nobody_is_there(self):
        """One warning however often it is tried, and no method waits or raises."""
        attempts = []
        closing = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(closing.close)
        threading.Thread(target=_close_what_comes, args=(closing, attempts), daemon=True).start()
        nowhere = self.notifier(f"redis://127.0.0.1:{closing.getsockname()[1]}/0")
        with self.assertLogs("streaming_chat", "INFO") as logs:
            nowhere.subscribe(self.reply, self.receiver, "default")
            nowhere.listen("one", self.receiver.wake, "default")
            nowhere.publish(self.reply, self.events)
            nowhere.wake("default", "one", self.reply)
            wait_until(lambda: self.receiver.changed and len(attempts) > 6)
            nowhere.stop_publishing(self.reply)
            nowhere.unsubscribe(self.reply)
            nowhere.stop_listening()

        assert len(logs.records) == 1
        assert not nowhere.is_connected

    def test_nothing_waits_for_it(self):
        self.begin()
        self.valkey.pause()
        self.wait_until_disconnected()
        began = time.monotonic()
        for _each in range(200):
            other = uuid.uuid4()
            self.writing.publish(other, self.events)
            self.writing.stop_publishing(other)
            self.writing.wake("default", "one", other)
            self.writing.subscribe(other, self.receiver, "default")
            self.writing.unsubscribe(other)
        took = time.monotonic() - began

        assert took < 1, f"1,000 calls took {took:.2f} s"

    def test_what_ends_while_it_is_away_is_not_kept(self):
        self.begin()
        self.valkey.kill()
        self.wait_until_disconnected()
        self.say("Hello")
        self.writing.stop_publishing(self.reply)
        wait_until(lambda: not self.writing._publications)

    def test_what_a_subscriber_raises_does_not_end_the_thread(self):
        self.begin()
        broken = Receiver()
        broken.events_received = lambda message_id, position, events: 1 / 0
        other, others = uuid.uuid4(), [Event(START, {}), Event(TEXT, "Hello")]
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            self.following.subscribe(other, broken, "default")
            self.writing.publish(other, others)
            wait_until(lambda: logs.records)
        self.arrives("Still here")

        assert "ZeroDivisionError" in logs.output[0]

        assert self.following.is_connected


@pytest.mark.once
class ForeignTests(TwoNotifiers, SimpleTestCase):
    """What others write to the streams may be shown while a reply is written, but breaks nothing."""

    def add(self, key, *fields):
        self.valkey.command("XADD", key, "*", *fields)

    def test_what_is_no_entry_is_ignored(self):
        self.begin()
        self.arrives("Mine")
        values = ["", "{}", "[]", "[1]", '["1", []]', "[1, [[]]]", '[1, [["text", 5]]]', b"\xff" * 99, "[" * 99_999]
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            for value in values:
                self.add(self.key, "events", value)
            self.add(self.key, "something", "else", "and", "more")
            self.arrives("!")

        assert self.receiver.text == "Mine!"
        assert len(logs.records) == 1

    def test_a_worker_ignores_what_is_no_id(self):
        self.writing.listen("one", self.receiver.wake, "default")
        with self.assertLogs("streaming_chat", "ERROR"):
            for value in ("", "x" * 1_000, b"\xff", "{}"):
                self.add("{streaming_chat}:worker:one", "wake", value)
            self.following.wake("default", "one", self.reply)
            wait_until(lambda: self.receiver.woken)

        assert self.receiver.woken == [self.reply]


@pytest.mark.once
class LifeTests(TwoNotifiers, SimpleTestCase):
    def test_there_is_no_thread_before_it_is_used_nor_after_it_is_closed(self):
        # One of an earlier test may be about to end.
        wait_until(lambda: "streaming_chat.notifier" not in _threads())

        self.begin()

        assert _threads().count("streaming_chat.notifier") == 2

        self.writing.close()
        self.following.close()

        assert "streaming_chat.notifier" not in _threads()
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

    def _in_child(self):
        self.following.reset()
        child = Receiver()
        self.following.subscribe(self.reply, child, "default")
        deadline = time.monotonic() + 10
        while child.text != "Hello" and time.monotonic() < deadline:
            time.sleep(0.01)
        return 0 if child.text == "Hello" else 1

    def _connections(self):
        """How many the server has, the one that asks included."""
        return int(self.valkey.command("INFO", "clients")["connected_clients"])


@pytest.mark.once
class ConfigurationTests(SimpleTestCase):
    def test_a_url_of_another_scheme_is_refused(self):
        for url, got in [
            ("redis+tls://h", "redis+tls"),
            ("http://user:secret@h", "http"),
            ("", ""),
            (None, "NoneType"),
        ]:
            with self.subTest(url=url), self.assertRaises(ImproperlyConfigured) as raised:
                RedisNotifier(url)

            assert str(raised.exception) == f"url must begin with redis://, rediss:// or unix://, got {got!r}."

    def test_a_url_that_redis_cannot_read_is_refused(self):
        with self.assertRaisesRegex(ImproperlyConfigured, "url is not an address of Redis: "):
            RedisNotifier("redis://host:port/0")

    def test_making_one_does_not_touch_the_network(self):
        notifier = RedisNotifier("redis://127.0.0.1:1/0")

        assert notifier.check() == []
        assert not notifier.is_connected


@pytest.mark.once
class EntryTests(SimpleTestCase):
    def test_an_entry_is_what_was_received(self):
        events = [Event(TEXT, "Hel"), Event(TEXT, "lo"), CALL, Event(REASONING, "\ud83d 日本 \x00"), DONE]

        assert decode_events(encode_events(events, 10)) == (10, [Event(TEXT, "Hello"), *events[2:4]])

    def test_of_a_long_text_the_end(self):
        entry = encode_events([Event(TEXT, "x" * 10_000), CALL, Event(TEXT, "y" * 10_000)], 1)

        assert decode_events(entry) == (3_618, [Event(TEXT, "x" * 6_383), CALL, Event(TEXT, "y" * 10_000)])

    def test_start_and_ending_are_no_entry(self):
        assert encode_events([Event(START, {}), DONE], 0) == b""


def _close_what_comes(server, attempts):
    with contextlib.suppress(OSError):
        while True:
            connection, _address = server.accept()
            connection.close()
            attempts.append(1)


def _threads():
    return [thread.name for thread in threading.enumerate()]
