"""Requests at the same moment: one client_id is one reply, one conversation has one live reply, the cap per owner holds."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections
from django.test import override_settings

from streaming_chat.models import Conversation, LiveReply, Message

from .factories import make_conversation
from .provider_server import Gate, Script
from .servers import Exchange, ServerTestCase, held

REQUESTS = 20


class AtOnce(ServerTestCase):
    """Twenty requests, each on a connection of its own; replies are held after their first delta."""

    def setUp(self) -> None:
        super().setUp()
        self.gate = Gate()
        self.provider.default = Script(["Hello", ", ", "wörld", "!"], gates={1: self.gate})

    def at_once(self, send: Callable[[int], Exchange]) -> list[Exchange]:
        """Send all; return the exchanges once each has its status. Threads begin when all are there."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            exchanges = list(pool.map(send, range(REQUESTS)))
            list(pool.map(lambda exchange: exchange.status, exchanges))
        return exchanges

    def read_all(self, exchanges: list[Exchange]) -> list[Exchange]:
        """Let the replies go on, and read the streams to their ends."""
        self.gate.open()
        streams = [exchange for exchange in exchanges if exchange.status == 200]
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(Exchange.rest, streams))

    def statuses(self, exchanges: list[Exchange]) -> dict[int, int]:
        return dict(Counter(exchange.status for exchange in exchanges))


class ClientIdTests(AtOnce):
    def check_one(self, path: str) -> None:
        with held(self.gate):
            body = {"content": "Hi", "client_id": "same"}
            streams = self.read_all(self.at_once(lambda number: self.browser.post(path, body)))

        assert len(streams) == REQUESTS
        assert len(self.provider.calls) == 1
        assert len({stream.message_id for stream in streams}) == 1
        assert {stream.text for stream in streams} == {"Hello, wörld!"}
        assert len({str(stream.endings) for stream in streams}) == 1
        assert Message.objects.count() == 2
        assert Conversation.objects.count() == 1

    def test_in_a_new_conversation(self):
        self.check_one("api/messages")

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1)
    def test_in_the_last_slot_of_its_owner(self):
        """The others lose the slot to it, but they are not refused."""
        self.check_one("api/messages")

    def test_in_a_conversation(self):
        self.check_one(f"api/conversations/{make_conversation().pk}/messages")

    def test_without_history(self):
        body = {"messages": [{"role": "user", "content": "Hi"}], "client_id": "same"}
        with held(self.gate):
            streams = self.read_all(self.at_once(lambda number: self.browser.post("api/chat", body)))

        assert {stream.text for stream in streams} == {"Hello, wörld!"}
        assert len(self.provider.calls) == 1


class OneConversationTests(AtOnce):
    def test_one_is_accepted_and_the_others_are_told_which(self):
        path = f"api/conversations/{make_conversation().pk}/messages"
        with held(self.gate):
            exchanges = self.at_once(lambda number: self.browser.post(path, {"content": f"Hi {number}"}))
            live = str(LiveReply.objects.get().pk)
            named = {exchange.json()["error"]["reply"] for exchange in exchanges if exchange.status == 409}
            self.read_all(exchanges)

        assert self.statuses(exchanges) == {200: 1, 409: REQUESTS - 1}
        assert named == {live}
        assert len(self.provider.calls) == 1
        assert Message.objects.count() == 2


class CapTests(AtOnce):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=3))

    def check_cap(self, send: Callable[[int], Exchange]) -> None:
        with held(self.gate):
            exchanges = self.at_once(send)
            live = LiveReply.objects.count()
            waits = {exchange.headers["retry-after"] for exchange in exchanges if exchange.status == 429}
            self.read_all(exchanges)

        assert self.statuses(exchanges) == {200: 3, 429: REQUESTS - 3}
        assert live == 3
        assert waits == {"1"}
        assert len(self.provider.calls) == 3

    def test_in_new_conversations(self):
        self.check_cap(lambda number: self.browser.send(f"Hi {number}"))

        assert Conversation.objects.count() == 3

    def test_in_different_conversations(self):
        paths = [f"api/conversations/{make_conversation().pk}/messages" for _ in range(REQUESTS)]

        self.check_cap(lambda number: self.browser.post(paths[number], {"content": "Hi"}))


class Plain:
    """A site with `DATABASES` as startproject writes it: on SQLite, transactions begin as readers, and wait 5 s."""

    def setUp(self) -> None:
        settings: Any = connections.settings["default"]
        options = settings["OPTIONS"]
        self.addCleanup(connections.close_all)
        self.addCleanup(settings.__setitem__, "OPTIONS", options)
        settings["OPTIONS"] = {name: value for name, value in options.items() if name == "init_command"}
        connections.close_all()
        super().setUp()


class PlainClientIdTests(Plain, ClientIdTests):
    """The same where nobody tuned the database."""


class PlainOneConversationTests(Plain, OneConversationTests):
    """The same where nobody tuned the database."""


class PlainCapTests(Plain, CapTests):
    """The same where nobody tuned the database."""
