"""A client that stops reading is disconnected; neither the reply nor another reader notices. Real uvicorn, raw sockets."""

import json
import socket

import psutil
import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.test import override_settings

from streaming_chat.asgi import get_asgi_application
from streaming_chat.engine.access_guard import access_guard

from .provider_server import Script
from .servers import Browser, ServerTestCase, ThreadServer, outcome, wait_until

pytestmark = pytest.mark.any_database

# More than the kernel takes for a client that reads nothing: 4 MB at most (net.ipv4.tcp_wmem).
DELTA = "wörd " * 1000
DELTAS = [f"{number} {DELTA}" for number in range(2000)]
TEXT = "".join(DELTAS)
TIMEOUT_SECONDS = 1.0


class Staller:
    """A client that asks and then reads nothing; its window is as small as the kernel allows."""

    def __init__(self, browser: Browser, content: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", browser.port))
        body = json.dumps({"content": content}).encode()
        cookies = f"{settings.SESSION_COOKIE_NAME}={browser.session}; {settings.CSRF_COOKIE_NAME}={'a' * 32}"
        head = (
            f"POST /chat/api/messages HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\nX-CSRFToken: {'a' * 32}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def is_reset(self) -> bool:
        """Read what the kernel still holds; True when the server has reset the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return False


@override_settings(
    STREAMING_CHAT_SEND_TIMEOUT_SECONDS=TIMEOUT_SECONDS,
    STREAMING_CHAT_MAX_REPLY_CHARS=2 * len(TEXT),
    STREAMING_CHAT_HEARTBEAT_SECONDS=600.0,
)
class StalledReaderTests(ServerTestCase):
    """The heartbeat is longer than the timeout: what disconnects a stalled reader must not wait for it."""

    def stall(self, server: ThreadServer) -> Staller:
        self.provider.default = Script(DELTAS)
        staller = Staller(Browser(server.port), "stalled")
        self.addCleanup(staller.socket.close)
        other = Browser(server.port)
        self.addCleanup(other.close)
        exchange = other.send("read").rest()

        assert exchange.text == TEXT
        assert outcome(self.reply_to("stalled")) == ("completed", "stop", "")
        wait_until(lambda: access_guard.count == 0)
        return staller

    def test_its_reader_and_its_task_end(self):
        with ThreadServer(ASGIHandler()) as server, self.assertLogs("uvicorn.error", "ERROR") as logged:
            self.stall(server)
            wait_until(lambda: server.tasks() <= 1)

        # Not the traceback of a cancelled server task.
        assert [record.getMessage() for record in logged.records if record.exc_info] == []

    def test_with_our_wrapper_its_connection_is_reset(self):
        """Else it stays, with what the server holds for it, as long as the client likes."""
        with ThreadServer(get_asgi_application()) as server:
            with self.assertNoLogs("uvicorn.error", "ERROR"):
                staller = self.stall(server)
                port = staller.socket.getsockname()[1]
                wait_until(lambda: port not in clients_of(server.port))

            assert staller.is_reset()


@override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=2 * len(TEXT))
class LateReaderTests(ServerTestCase):
    """A client that reads only later: what the server cannot send waits in the reply's stream, not in the connection."""

    def test_it_is_sent_everything_in_order(self):
        self.provider.default = Script(DELTAS)
        for application in (ASGIHandler(), get_asgi_application()):
            with self.subTest(type(application).__name__), ThreadServer(application) as server:
                browser = Browser(server.port)
                self.addCleanup(browser.close)
                late = browser.send("late")
                late.until(lambda late=late: late.frames)
                prompt = browser.follow(late.message_id).rest()
                late.rest()

                assert (late.text, prompt.text) == (TEXT, TEXT)
                assert late.frames[-1].data == "[DONE]"


def clients_of(port: int) -> set[int]:
    """Return the ports of the clients that a server in this process has connections with."""
    connections = psutil.Process().net_connections(kind="tcp")
    return {each.raddr.port for each in connections if each.laddr.port == port and each.raddr}
