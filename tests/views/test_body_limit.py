"""A body that is larger than the app accepts, at a real server: refused before it is read."""

import contextlib
import json
import select
import socket
from collections.abc import Iterator
from unittest import mock

import pytest
from django.http import HttpResponse
from django.test import SimpleTestCase, override_settings
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from streaming_chat.asgi import body_limit, get_asgi_application
from streaming_chat.views.api.parsing import max_body_bytes
from tests.servers import TIMEOUT, ThreadServer

# A site with a view of its own that takes uploads.
urlpatterns = [
    path("chat/", include("streaming_chat.urls")),
    path("upload", csrf_exempt(lambda request: HttpResponse(str(len(request.read()))))),
]
TOO_LARGE = 413
TOO_SLOW = 408
UNIT = b"x" * 65_536


class Upload:
    """A request whose body is sent piece by piece."""

    def __init__(self, port: int, target: str, *headers: str, method: str = "POST") -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def send_chunks(self, count: int) -> None:
        """Send so many chunks of 64 KiB."""
        for _number in range(count):
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(UNIT), UNIT))

    def answer(self) -> tuple[int, bytes]:
        """Return status and body of the answer, when the server has closed the connection."""
        received = b""
        # The server closes while something is sent: that is a reset.
        with contextlib.suppress(ConnectionResetError):
            while data := self.connection.recv(65_536):
                received += data
        self.connection.close()
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


@pytest.mark.slow
@override_settings(ROOT_URLCONF="tests.views.test_body_limit")
class BodyLimitTests(SimpleTestCase):
    @contextlib.contextmanager
    def upload(self, target: str, *headers: str, **options: str) -> Iterator[Upload]:
        with ThreadServer(get_asgi_application()) as server:
            yield Upload(server.port, target, *headers, **options)

    def test_a_length_that_is_too_large_is_refused_at_once(self):
        """Not one byte of the 200 MB is sent."""
        for target in ("/chat/api/messages", "/chat/api/nothing", "/chat/", "/chat/health"):
            with self.subTest(target), self.upload(target, "Content-Length: 209715200") as upload:
                status, body = upload.answer()

                assert (status, json.loads(body)["error"]["code"]) == (TOO_LARGE, "too_large")

    def test_each_api_has_its_own_errors(self):
        """The SDKs of other APIs show what they can read."""
        text = b"That is larger than this site accepts."
        for target, expected in (("/chat/ai/chat", text), ("/chat/ai/chat/mine/stop", text)):
            with self.subTest(target), self.upload(target, "Content-Length: 209715200") as upload:
                assert upload.answer() == (TOO_LARGE, expected)
        with self.upload("/chat/v1/chat/completions", "Content-Length: 209715200") as upload:
            status, body = upload.answer()
        with (
            mock.patch.object(body_limit, "BODY_SECONDS", 0),
            self.upload("/chat/v1/chat/completions", "Content-Length: 2") as upload,
        ):
            slow, slow_body = upload.answer()

        assert (status, json.loads(body)["error"]["type"]) == (TOO_LARGE, "invalid_request_error")
        assert (slow, json.loads(slow_body)["error"]["code"]) == (TOO_SLOW, "too_slow")

    def test_chunks_are_read_up_to_the_limit(self):
        """The request never ends: the answer comes nevertheless."""
        with self.upload("/chat/api/messages", "Transfer-Encoding: chunked") as upload:
            upload.send_chunks(max_body_bytes() // len(UNIT) + 1)
            status, body = upload.answer()

        assert (status, json.loads(body)["error"]["code"]) == (TOO_LARGE, "too_large")

    def test_a_get_has_no_body_of_any_size_either(self):
        with self.upload("/chat/api/models", "Content-Length: 209715200", method="GET") as upload:
            assert upload.answer()[0] == TOO_LARGE

    def test_a_body_that_stalls_is_not_waited_for(self):
        """One that was announced, and one in chunks of which the last one does not come."""
        for header, begun in (("Content-Length: 2", b"{"), ("Transfer-Encoding: chunked", b"1\r\n{\r\n")):
            with (
                self.subTest(header),
                mock.patch.object(body_limit, "BODY_SECONDS", 0.2),
                self.upload("/chat/api/messages", header) as upload,
            ):
                upload.connection.sendall(begun)
                status, body = upload.answer()

                assert (status, json.loads(body)["error"]["code"]) == (TOO_SLOW, "too_slow")

    def test_a_body_that_comes_in_drops_is_not_waited_for(self):
        """Whatever it does between: the time is that of the whole body."""
        with (
            mock.patch.object(body_limit, "BODY_SECONDS", 0.5),
            self.upload("/chat/api/messages", "Content-Length: 1000000") as upload,
            contextlib.suppress(OSError),
        ):
            for _number in range(1_000_000):
                upload.connection.sendall(b" ")
                if select.select([upload.connection], [], [], 0.01)[0]:
                    break
            status, body = upload.answer()

            assert (status, json.loads(body)["error"]["code"]) == (TOO_SLOW, "too_slow")

    def test_views_of_the_site_take_their_time(self):
        with (
            mock.patch.object(body_limit, "BODY_SECONDS", 0),
            self.upload("/upload", "Content-Length: 2", "Connection: close") as upload,
        ):
            upload.connection.sendall(b"x")
            health = Upload(upload.connection.getpeername()[1], "/chat/health", "Connection: close", method="GET")

            assert health.answer()[0] in (200, 503)
            upload.connection.sendall(b"x")

            assert upload.answer() == (200, b"2")

    def test_a_body_within_the_limit_reaches_the_view(self):
        chunked = b"2\r\n{}\r\n0\r\n\r\n"
        for header, body in (("Content-Length: 2", b"{}"), ("Transfer-Encoding: chunked", chunked)):
            with self.subTest(header), self.upload("/chat/api/messages", header, "Connection: close") as upload:
                upload.connection.sendall(body)

                assert upload.answer()[0] == 401

    def test_views_of_the_site_take_what_they_like(self):
        size = 2 * max_body_bytes()
        with self.upload("/upload", f"Content-Length: {size}", "Connection: close") as upload:
            upload.connection.sendall(b"x" * size)

            assert upload.answer() == (200, b"%d" % size)
        with self.upload("/upload", "Transfer-Encoding: chunked", "Connection: close") as upload:
            upload.send_chunks(2 * max_body_bytes() // len(UNIT))
            upload.connection.sendall(b"0\r\n\r\n")

            assert upload.answer() == (200, b"%d" % size)
