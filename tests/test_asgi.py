"""An ASGI application whose requests share a few threads."""

import threading

from django.test import SimpleTestCase, override_settings

from streaming_chat.asgi import SharedThreads, get_asgi_application

from .provider_server import Gate, Script
from .servers import Browser, ServerTestCase, ThreadServer, held, wait_until
from .test_resources import other_connections

DELTAS = ("Hel", "lo ", "wörld")


def request_threads():
    """Return the threads that requests' synchronous code runs on: ours, and those Django makes."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("streaming_chat.request", "ThreadPoolExecutor"))]


class SharedThreadsTests(ServerTestCase):
    def test_open_replies_share_two_threads(self):
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

            assert len(request_threads()) - before <= 2
            wait_until(lambda: other_connections() <= 3)
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


class ScopeTests(SimpleTestCase):
    async def test_what_is_no_request_goes_through(self):
        """Django refuses a lifespan itself, in words of its own."""
        seen = []

        async def application(scope, receive, send):
            seen.append(scope["type"])

        await SharedThreads(application)({"type": "lifespan"}, None, None)

        assert seen == ["lifespan"]
