"""The handler of `streaming_chat.asgi`: a site's middleware sees of a request what it sees under Django's own handler."""

import gc
import threading
from unittest.mock import patch

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core import asgi
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_finished, request_started
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path

from streaming_chat.asgi import SharedThreads, get_asgi_application
from streaming_chat.asgi.shared_threads import _RequestThread
from streaming_chat.models import Message

from .provider_server import Gate, Script
from .servers import Browser, ServerTestCase, ThreadServer, held, wait_until

DELTAS = ("Hel", "lo ", "wörld")
DJANGOS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
# For the middleware that chooses them.
urlpatterns = [
    path("chat/", include("streaming_chat.urls")),
    path("chat/own", lambda request: HttpResponse("own")),
    path("accepted", lambda request: HttpResponse(status=202)),
]


def view_noting(get_response):
    """Notes in a header what it was told of the view."""

    def middleware(request):
        response = get_response(request)
        response.headers["X-View"] = f"{request.resolver_match.view_name} {middleware.view.__name__}"
        return response

    def process_view(request, view, args, kwargs):
        middleware.view = view

    middleware.process_view = process_view
    return middleware


class Redirecting:
    """Has another view answer."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.path_info = "/accepted"
        return self.get_response(request)


class Shouting:
    """Wraps the content of a stream, which is asynchronous."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if response.streaming:
            response.streaming_content = self.shouted(response.streaming_content)
        return response

    async def shouted(self, content):
        async for written in content:
            yield written.replace(b"w", b"W")


class Asynchronous:
    """Only asynchronous: under it, the whole request takes Django's way."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request):
        response = await self.get_response(request)
        response.headers["X-Asynchronous"] = "yes"
        return response


def replacing(get_response):
    """Puts its own response in the place of the view's."""

    def middleware(request):
        get_response(request)
        return HttpResponse("replaced", status=418)

    return middleware


def failing(get_response):
    """Fails once the view has answered."""

    def middleware(request):
        get_response(request)
        raise LookupError("after the view")

    return middleware


def with_own_urls(get_response):
    """Chooses other URLs than ROOT_URLCONF."""

    def middleware(request):
        request.urlconf = "tests.test_asgi_handler"
        return get_response(request)

    return middleware


MIDDLEWARE = {
    name: [f"tests.test_asgi_handler.{name}", *DJANGOS]
    for name in ["view_noting", "Shouting", "Asynchronous", "replacing", "failing", "with_own_urls"]
}
MIDDLEWARE["LocaleMiddleware"] = ["django.middleware.locale.LocaleMiddleware", *DJANGOS]
MIDDLEWARE["GZipMiddleware"] = ["django.middleware.gzip.GZipMiddleware", *DJANGOS]


class MiddlewareTests(ServerTestCase):
    def outcome(self, application):
        """Return what clients of an application see of a send and of pages."""
        with ThreadServer(application) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS)
            exchange = browser.send("Hi", client_id="once")
            seen = [exchange.status, exchange.headers.get("x-view"), exchange.headers.get("x-asynchronous")]
            seen.append(exchange.rest().text if exchange.status == 200 else exchange.headers["content-type"])
            wait_until(lambda: not Message.objects.filter(status="streaming").exists())
            seen += [Message.objects.get(role="assistant").text]
            for address in ["api/conversations", "api/models", "/chat/own", "/nowhere", "/chat/"]:
                seen.append((address, browser.get(address).status))
            Message.objects.all().delete()
        return seen

    def test_they_see_the_same(self):
        for name, middleware in MIDDLEWARE.items():
            with self.subTest(name), override_settings(MIDDLEWARE=middleware):
                ours = self.outcome(get_asgi_application())
                djangos = self.outcome(SharedThreads(asgi.get_asgi_application()))

                assert ours == djangos
                assert "Hello wörld" in ours

    @override_settings(MIDDLEWARE=MIDDLEWARE["failing"])
    def test_a_failure_after_the_view_leaves_no_reply_without_its_run(self):
        with ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS)

            assert browser.send("Hi").status == 500
            wait_until(lambda: Message.objects.filter(role="assistant", status="completed").exists())


class HopTests(ServerTestCase):
    def test_a_send_makes_one_hop(self):
        """Django's handler makes seven with these, and more with each middleware."""
        assert len(self.hops()) == 1

    def test_its_close_makes_another_where_a_site_waits_for_it(self):
        def note(**kwargs):
            pass

        request_finished.connect(note)
        self.addCleanup(request_finished.disconnect, note)
        calls = self.hops()

        assert len(calls) == 2
        assert len(set(calls)) == 1

    def test_a_middleware_may_send_a_request_to_another_view(self):
        with (
            override_settings(MIDDLEWARE=[*DJANGOS, f"{__name__}.Redirecting"], ROOT_URLCONF=__name__),
            ThreadServer(get_asgi_application()) as server,
        ):
            browser = Browser(server.port)
            self.addCleanup(browser.close)

            assert browser.send("Hi").status == 202

    def hops(self):
        """Return the thread of each call that a send makes."""
        calls = []
        submit = _RequestThread.submit

        def counted(thread, *args, **kwargs):
            calls.append(thread)
            return submit(thread, *args, **kwargs)

        with patch.object(_RequestThread, "submit", counted), ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS)
            browser.send("Hi").rest()
        # The server has ended, and with it all that it called.
        return calls

    def test_signals_are_sent_once_in_the_request_s_thread(self):
        seen = []

        def note(signal, **kwargs):
            seen.append((signal is request_started, threading.current_thread().name))

        async def note_asynchronously(signal, **kwargs):
            seen.append((signal is request_started, "asynchronous"))

        for signal in (request_started, request_finished):
            for receiver in (note, note_asynchronously):
                signal.connect(receiver)
                self.addCleanup(signal.disconnect, receiver)
        with ThreadServer(get_asgi_application(threads=1)) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS)
            browser.send("Hi").rest()
            wait_until(lambda: len(seen) == 4)

        thread = "streaming_chat.request0_0"
        assert sorted(seen) == [(False, "asynchronous"), (False, thread), (True, "asynchronous"), (True, thread)]

    def test_an_open_reply_keeps_nothing_of_its_request(self):
        """Its headers and its body were a tenth of what an open reply takes."""
        gate = Gate()
        with held(gate), ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchange = browser.send("Hi").until_text("Hello ")
            gc.collect()
            kept = [request for request in gc.get_objects() if isinstance(request, ASGIRequest)]
            gate.open()
            text = exchange.rest().text

        assert (kept, text) == ([], "Hello wörld")

    def test_a_client_that_leaves_ends_its_request(self):
        """The reply goes on; the request's end is told to the site."""
        finished = []

        def note(**kwargs):
            finished.append(threading.current_thread().name)

        request_finished.connect(note)
        self.addCleanup(request_finished.disconnect, note)
        gate = Gate()
        with held(gate), ThreadServer(get_asgi_application(threads=1)) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchange = browser.send("Hi").until_text("Hello ")
            message_id = exchange.message_id
            exchange.close()
            wait_until(lambda: finished == ["streaming_chat.request0_0"])
            gate.open()
            wait_until(lambda: Message.objects.get(pk=message_id).status == "completed")

        assert Message.objects.get(pk=message_id).text == "Hello wörld"
