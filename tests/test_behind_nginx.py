"""Behind nginx, configured as docs/deployment.md says: over HTTP/2 and HTTP/1.1, with TLS, buffering and gzip on."""

import contextlib
import socket
import ssl

import pytest
from django.conf import settings

from streaming_chat.models import Message

from .nginx import HTTP1, HTTP2, Nginx, ProxiedBrowser
from .provider_server import Gate, Script
from .servers import Browser, ProcessServer, ServerTestCase, held, outcome, site, wait_until

pytestmark = pytest.mark.nginx

DELTAS = ["One ", "event ", "at ", "a ", "time: ", "wörld ", "🦜."]
TEXT = "".join(DELTAS)
# What production has behind TLS: without X-Forwarded-Proto every request would be redirected to itself.
SECURE = {"SECURE_SSL_REDIRECT": True, "SESSION_COOKIE_SECURE": True, "CSRF_COOKIE_SECURE": True}
# The worst that a site may say: everything is compressed that can be.
GZIP_EVERYTHING = "gzip_types *; gzip_min_length 1; gzip_proxied any; gzip_comp_level 9;\n"


class NginxTestCase(ServerTestCase):
    """Has a server in a process of its own, too, for nginx to stand before."""

    named: dict = {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.process = cls.enterClassContext(ProcessServer({**site(cls.provider), **SECURE, **cls.named}))

    def browser_for(self, nginx: Nginx, option: str = HTTP2) -> ProxiedBrowser:
        browser = ProxiedBrowser(nginx, option)
        self.addCleanup(browser.close)
        return browser


class StreamTests(NginxTestCase):
    def test_each_event_arrives_before_the_provider_sends_the_next(self):
        with Nginx(self.process.port) as nginx:
            self.check_one_at_a_time(nginx)
            # nginx logs a request when it is over.
            wait_until(lambda: len(nginx.requests) == 2)
            protocols = [line.split()[0] for line in nginx.requests]

        assert protocols == ["HTTP/2.0", "HTTP/1.1"]

    def test_nothing_is_held_back_where_everything_is_compressed(self):
        with Nginx(self.process.port, http=GZIP_EVERYTHING) as nginx:
            self.check_one_at_a_time(nginx)
            models = self.browser_for(nginx).get("api/models")

            assert models.status == 200
            assert models.headers["content-encoding"] == "gzip"

    def check_one_at_a_time(self, nginx: Nginx) -> None:
        """Each delta is let go only when the one before is here: one that waits somewhere ends in a timeout."""
        for option in (HTTP2, HTTP1):
            gates = {number: Gate() for number in range(1, len(DELTAS) + 1)}
            with held(*gates.values()), self.subTest(option):
                self.provider.script(Script(DELTAS, gates=gates))
                exchange = self.browser_for(nginx, option).send("Hello")
                for number, gate in gates.items():
                    exchange.until_text("".join(DELTAS[:number]))
                    gate.open()
                exchange.rest()

                assert exchange.text == TEXT
                assert [frame.event for frame in exchange.endings] == ["done"]
                assert exchange.headers["content-encoding"] == "identity"
                assert exchange.headers["cache-control"] == "no-store, no-cache, no-transform"
                # nginx obeys it, and does not pass it on.
                assert "x-accel-buffering" not in exchange.headers

    def test_resuming_at_every_event_gives_the_same_text(self):
        with Nginx(self.process.port) as nginx:
            browser = self.browser_for(nginx)
            self.provider.script(Script(DELTAS))
            whole = browser.send("Hello").rest()
            for index, frame in enumerate(whole.frames[:-2]):
                before = "".join(seen.data["text"] for seen in whole.frames[: index + 1])

                assert before + browser.follow(whole.message_id, frame.id).rest().text == TEXT

    def test_who_leaves_is_noticed(self):
        gate = Gate()
        with Nginx(self.process.port) as nginx, held(gate):
            for option in (HTTP2, HTTP1):
                self.provider.script(Script(DELTAS, gates={2: gate}))
                exchange = self.browser_for(nginx, option).send("Hello", disconnect="stop").until_text("One event ")
                exchange.leave()

                assert outcome(self.ended(exchange.message_id)) == ("stopped", "disconnect", "")

    def test_a_stop_ends_the_stream(self):
        gate = Gate()
        with Nginx(self.process.port) as nginx, held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}))
            browser = self.browser_for(nginx)
            exchange = browser.send("Hello").until_text("One event ")
            stopped = browser.stop(exchange.message_id)
            exchange.rest()

            assert stopped.status == 200
            assert [frame.event for frame in exchange.endings] == ["stopped"]
            assert exchange.text == Message.objects.get(pk=exchange.message_id).text == "One event "


class ImpatientCase(NginxTestCase):
    """nginx cuts a connection that is silent for proxy_read_timeout: 60 s by itself, 3 s here."""

    IMPATIENT = "proxy_read_timeout 3s;\n"

    def setUp(self) -> None:
        super().setUp()
        # The first reply of a process waits for the provider's SDK, which takes seconds to import.
        secure = {"X_Forwarded_Proto": "https", "Referer": "https://localhost/chat/"}
        first = Browser(self.process.port, self.browser.user).post("api/messages", {"content": "First"}, **secure)
        first.rest().close()


class IdleTests(ImpatientCase):
    named = {"STREAMING_CHAT_HEARTBEAT_SECONDS": 1}

    def test_heartbeats_keep_a_silent_stream_open(self):
        gate = Gate()
        with Nginx(self.process.port, location=self.IMPATIENT) as nginx, held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}), Script(DELTAS, gates={2: gate}))
            exchanges = [self.browser_for(nginx, option).send(option) for option in (HTTP2, HTTP1)]
            for exchange in exchanges:
                exchange.until_text("One event ").until_heartbeats(5)
            gate.open()
            texts = [exchange.rest().text for exchange in exchanges]

        assert texts == [TEXT, TEXT]


class CutTests(ImpatientCase):
    """The same without heartbeats: what they are for."""

    named = {"STREAMING_CHAT_HEARTBEAT_SECONDS": 60}

    def test_a_silent_stream_is_cut_and_resumed(self):
        gate = Gate()
        with Nginx(self.process.port, location=self.IMPATIENT) as nginx, held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}))
            browser = self.browser_for(nginx)
            cut = browser.send("Hello").rest()
            gate.open()
            resumed = browser.follow(cut.message_id, cut.frames[-1].id).rest()

        assert (cut.text, cut.endings) == ("One event ", [])
        assert cut.text + resumed.text == TEXT


class SilentTests(NginxTestCase):
    """A client that sends no whole request is closed, and the app's server has not seen it."""

    BEGINNINGS = (
        b"",
        b"POST /chat/api/mess",
        b"POST /chat/api/messages HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /chat/api/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    )

    def test_it_is_closed(self):
        with Nginx(self.process.port) as nginx, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(secure_connection(nginx.port)) for _beginning in self.BEGINNINGS]
            # Two that do not even begin with TLS, and one at the address that leads to HTTPS.
            clients += [stack.enter_context(plain_connection(port)) for port in (nginx.port, nginx.plain_port)]
            for client, beginning in zip(clients, [*self.BEGINNINGS, b"", b""], strict=True):
                client.sendall(beginning)
            answers = [everything(client) for client in clients]

            assert [answer[:12] for answer in answers if answer] in ([], [b"HTTP/1.1 408"])
        assert "/chat/api/mess" not in self.process.log


def secure_connection(port: int) -> ssl.SSLSocket:
    """Return a connection whose certificate, the test's own, is not checked."""
    return ssl._create_unverified_context().wrap_socket(plain_connection(port))  # noqa: S323


def plain_connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 60)


def everything(connection: socket.socket) -> bytes:
    """Return what is received until the other side closes."""
    received = b""
    while data := connection.recv(65_536):
        received += data
    return received


class SiteTests(NginxTestCase):
    """The rest of the configuration."""

    def test_too_large_a_body_is_refused_by_the_app(self):
        with Nginx(self.process.port) as nginx:
            refused = self.browser_for(nginx).post("api/messages", {"content": "x" * 1_100_000})

            assert (refused.status, refused.json()["error"]["code"]) == (413, "too_large")

    def test_plain_http_is_sent_to_https(self):
        with Nginx(self.process.port) as nginx:
            plain = Browser(nginx.plain_port).get("health")

            assert (plain.status, plain.headers["location"]) == (301, f"https://localhost:{nginx.port}/chat/health")

    def test_it_serves_the_static_files(self):
        with Nginx(self.process.port) as nginx:
            (nginx.static / "chat.css").write_text("body {}")
            path = f"../{settings.STATIC_URL.strip('/')}/chat.css"
            served = self.browser_for(nginx).get(path)

            assert (served.status, served.headers["content-type"]) == (200, "text/css")
