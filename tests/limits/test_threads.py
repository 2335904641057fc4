"""The requests of one owner wait for half of the threads of `streaming_chat.asgi` at most, however many they are."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import SimpleTestCase, TransactionTestCase

from streaming_chat.accounts.owners import user_key
from streaming_chat.asgi import SharedThreads, get_asgi_application
from streaming_chat.views.known_clients import KnownClients, known_clients
from tests.factories import make_user
from tests.servers import Browser, ThreadServer


def scope_of(address: str = "192.0.2.1", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": (address, 1234), "headers": raw}


class ThreadTests(SimpleTestCase):
    """An application that keeps a thread as long as it is told to."""

    def setUp(self) -> None:
        known_clients.reset()
        self.addCleanup(known_clients.reset)
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.shared = SharedThreads(self.application, threads=4)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        await sync_to_async(self.gate.wait if scope.get("slow") else lambda: None)()
        await send({"type": "http.response.start"})
        if scope.get("streams"):
            await asyncio.Event().wait()

    async def start(self, count: int, scope: dict[str, Any]) -> list[asyncio.Task]:
        """Start so many requests, and let them come to wait."""
        tasks = [asyncio.create_task(self.shared(scope, None, self.send)) for _ in range(count)]
        for _turn in range(5):
            await asyncio.sleep(0)
        return tasks

    async def send(self, message: dict[str, Any]) -> None:
        """The server's."""

    async def ask(self, scope: dict[str, Any]) -> None:
        await asyncio.wait_for(self.shared(scope, None, self.send), 10)

    async def test_others_are_served_while_one_asks_for_everything(self):
        slow = await self.start(40, scope_of() | {"slow": True})
        await self.ask(scope_of("192.0.2.2"))

        assert not any(task.done() for task in slow)
        self.gate.set()
        await asyncio.gather(*slow)

    async def test_an_owner_is_known_by_the_credentials(self):
        """Wherever they ask from; a whole office may share one address."""
        known_clients.remember(scope_of(cookie="sessionid=a"), "u:1")
        known_clients.remember(scope_of(cookie="sessionid=b"), "u:2")
        slow = await self.start(40, scope_of(cookie="sessionid=a") | {"slow": True})
        await self.ask(scope_of(cookie="sessionid=b"))

        self.gate.set()
        await asyncio.gather(*slow)

    async def test_a_reply_that_streams_does_not_count(self):
        streams = await self.start(40, scope_of() | {"streams": True})
        slow = await self.start(2, scope_of("192.0.2.2") | {"slow": True})
        for _ in range(4):
            await self.ask(scope_of())

        self.gate.set()
        await asyncio.gather(*slow)
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)

    async def test_nothing_is_left_of_requests_that_ended(self):
        await asyncio.gather(*await self.start(10, scope_of()))

        assert not any(thread.clients for thread in self.shared._threads)


@pytest.mark.once
class KnownClientsTests(SimpleTestCase):
    def setUp(self) -> None:
        self.known = KnownClients()

    def test_credentials_that_nobody_has_used_are_no_owners(self):
        """Anybody can make up as many as they like."""
        self.known.remember(scope_of(cookie="sessionid=a"), "u:1")

        assert self.known.client_of(scope_of(cookie="sessionid=a")) == "u:1"
        assert self.known.client_of(scope_of(cookie="sessionid=made-up")) == "network 192.0.2.1"
        assert self.known.client_of(scope_of()) == "network 192.0.2.1"

    def test_a_token_is_one_of_them(self):
        self.known.remember(scope_of(authorization="Bearer a"), "u:1")

        assert self.known.client_of(scope_of(authorization="Bearer a")) == "u:1"

    def test_nobody_is_known_without_any(self):
        self.known.remember(scope_of(), "u:1")
        self.known.remember(scope_of(cookie="sessionid=a"), "")

        assert self.known.client_of(scope_of()) == "network 192.0.2.1"
        assert self.known.client_of(scope_of(cookie="sessionid=a")) == "network 192.0.2.1"

    def test_a_proxy_is_nobody(self):
        forwarded = {"x_forwarded_for": "192.0.2.1"}

        assert self.known.client_of(scope_of("10.0.0.1", **forwarded)) == ""
        assert self.known.client_of(scope_of("", **forwarded)) == ""
        assert self.known.client_of({"type": "http", "client": None}) == ""

    def test_so_many_are_known(self):
        for number in range(20_000):
            self.known.remember(scope_of(cookie=str(number)), "u:1")

        assert len(self.known._keys) == 10_000


class ServerTests(TransactionTestCase):
    def test_an_owner_is_known_from_the_first_request_on(self):
        user = make_user()
        with ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port, user)
            self.addCleanup(browser.close)
            browser.get("api/models")

        assert user_key(user) in known_clients._keys.values()
