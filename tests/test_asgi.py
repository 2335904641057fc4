"""An ASGI application whose requests share a few threads."""

import asyncio
import threading
from unittest.mock import patch

from asgiref.sync import sync_to_async
from django.core import asgi
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.http import HttpResponse
from django.test import SimpleTestCase, override_settings
from django.urls import include, path

from streaming_chat.asgi import SharedThreads, get_asgi_application
from streaming_chat.engine.runner import runner

from .held_rows import HeldRowsCase
from .provider_server import Gate, Script
from .servers import Browser, ServerTestCase, ThreadServer, held, wait_until
from .test_resources import other_connections

DELTAS = ("Hel", "lo ", "wörld")
HTTP = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "method": "GET",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}
# A site that has put the app elsewhere, and has a health check of its own.
urlpatterns = [
    path("health", lambda request: HttpResponse("the site's")),
    path("help/chat/", include("streaming_chat.urls")),
]


def request_threads():
    """Return the threads that requests' synchronous code runs on: ours, and those Django makes."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("streaming_chat.request", "ThreadPoolExecutor"))]


class SharedThreadsTests(ServerTestCase):
    def test_open_replies_share_a_few_threads(self):
        """Django alone has one thread for each."""
        gate = Gate()
        before = len(request_threads())
        with held(gate), ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchanges = [browser.send(f"message {number}") for number in range(30)]
            for exchange in exchanges:
                exchange.until_text("Hello ")

            assert len(request_threads()) - before <= 4
            wait_until(lambda: other_connections() <= 5)
            gate.open()
            texts = {exchange.rest().text for exchange in exchanges}

        assert texts == {"Hello wörld"}

    @override_settings(
        MIDDLEWARE=[
            "tests.test_resources.querying_middleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ]
    )
    def test_a_synchronous_middleware_around_them_is_no_deadlock(self):
        """It holds its thread while the view runs, and the view's own synchronous code needs that thread."""
        with ThreadServer(get_asgi_application(threads=1)) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS)
            texts = {browser.send(f"message {number}").rest().text for number in range(5)}

        assert texts == {"Hello wörld"}

    def test_a_thread_keeps_its_connection_if_the_site_says_so(self):
        """Opening one costs a twentieth of a send on PostgreSQL, and on SQLite more."""
        application = SharedThreads(asgi.get_asgi_application(), threads=1)
        self.addCleanup(lambda: application._threads[0].submit(connections.close_all).result())
        opened = []

        def note(**kwargs):
            opened.append(threading.current_thread().name)

        connection_created.connect(note)
        self.addCleanup(connection_created.disconnect, note)
        with patch.dict(connection.settings_dict, CONN_MAX_AGE=60), ThreadServer(application) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            texts = [browser.send(f"message {number}").rest().text for number in range(3)]

        assert len(texts) == 3
        assert [name for name in opened if name.startswith("streaming_chat.request")] == ["streaming_chat.request0_0"]


class ChoiceTests(SimpleTestCase):
    async def test_no_request_waits_behind_one_that_takes_its_time(self):
        """It may wait for a locked row; in turns, every other request would have waited with it."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        done = []

        async def application(scope, receive, send):
            await sync_to_async(gate.wait if scope["slow"] else lambda: done.append(1))()

        shared = SharedThreads(application, threads=2)
        slow = asyncio.create_task(shared({"type": "http", "slow": True}, None, None))
        await asyncio.sleep(0)
        for _number in range(4):
            await asyncio.wait_for(shared({"type": "http", "slow": False}, None, None), 10)

        assert (len(done), slow.done()) == (4, False)
        gate.set()
        await slow


class HealthTests(SimpleTestCase):
    """A SimpleTestCase: a query would fail."""

    async def ask(self, address, **scope):
        """Return status and body of the answer, by an application whose only thread is busy."""
        application = get_asgi_application(threads=1)
        received = asyncio.Queue()
        received.put_nowait({"type": "http.request", "body": b""})
        sent = []

        async def send(message):
            sent.append(message)

        await application({**HTTP, "path": address, **scope}, received.get, send)
        self.headers = dict(sent[0]["headers"])
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    async def test_ok(self):
        assert await self.ask("/chat/health") == (200, b"ok")
        assert self.headers[b"content-length"] == b"2"
        assert self.headers[b"cache-control"] == b"no-store"

    async def test_head(self):
        assert await self.ask("/chat/health", method="HEAD") == (200, b"")

    async def test_draining(self):
        runner.is_draining = True
        self.addCleanup(setattr, runner, "is_draining", False)

        assert await self.ask("/chat/health") == (503, b"draining")

    async def test_another_method_is_refused_by_the_view(self):
        status, body = await self.ask("/chat/health", method="POST")

        assert status == 405
        assert b"method_not_allowed" in body

    @override_settings(ALLOWED_HOSTS=["example.com"], SECURE_SSL_REDIRECT=True)
    async def test_a_load_balancer_names_any_host_without_tls(self):
        assert await self.ask("/chat/health") == (200, b"ok")

    @override_settings(ROOT_URLCONF="tests.test_asgi")
    async def test_it_is_where_the_site_has_put_the_app(self):
        assert await self.ask("/help/chat/health") == (200, b"ok")
        assert await self.ask("/health") == (200, b"the site's")
        assert (await self.ask("/chat/health"))[0] == 404

    async def test_under_a_script_name(self):
        assert await self.ask("/mounted/chat/health", root_path="/mounted") == (200, b"ok")

    @override_settings(FORCE_SCRIPT_NAME="/mounted")
    async def test_under_a_forced_script_name(self):
        assert await self.ask("/mounted/chat/health") == (200, b"ok")


class HungDatabaseTests(HeldRowsCase):
    def test_health_is_answered_while_every_thread_waits_for_the_database(self):
        """It did not answer within 30 s: it stood in the queue behind what it should judge."""
        with ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            with self.postgres.paused():
                lists = [browser.get("api/conversations") for _number in range(20)]
                health = browser.get("health").status

            assert health == 200
            assert {exchange.status for exchange in lists} == {200}


class ScopeTests(SimpleTestCase):
    async def test_what_is_no_request_goes_through(self):
        """Django refuses a lifespan itself, in words of its own."""
        seen = []

        async def application(scope, receive, send):
            seen.append(scope["type"])

        await SharedThreads(application)({"type": "lifespan"}, None, None)

        assert seen == ["lifespan"]
