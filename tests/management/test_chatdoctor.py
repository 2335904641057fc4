"""`manage.py chatdoctor` against real servers: what it says of a good one, and of each thing that can be wrong."""

import io
import re
import socket
import sys
import threading
import zlib
from typing import Any, Self

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import CommandError, call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.test import TransactionTestCase, override_settings

from streaming_chat.doctor.checkup import Checkup
from streaming_chat.doctor.findings import Finding
from streaming_chat.doctor.probe import Probe
from streaming_chat.engine.writer import writer
from streaming_chat.management.commands.chatdoctor import _session
from streaming_chat.models import Conversation, LiveReply
from tests.factories import make_user
from tests.nginx import Nginx
from tests.servers import ProcessServer, Supervisor, ThreadServer, wait_until

pytestmark = pytest.mark.any_database


DEMO = {"demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider", "OPTIONS": {"words_per_second": 50}}}


SETTINGS = {
    "STREAMING_CHAT_PROVIDERS": DEMO,
    "STREAMING_CHAT_MODELS": ["demo:demo"],
    "STREAMING_CHAT_FLUSH_SECONDS": 0.1,
    "STREAMING_CHAT_HEARTBEAT_SECONDS": 1,
}


# Its warnings are of the time that something took, as it does on a busy machine, too.
TIMED = {"first word", "gaps", "disconnect"}
# What follows would measure the same once more.
BUFFERED = {"gaps": "FAIL", "stream": "FAIL"}


class Examined:
    """What the command said at a URL.

    levels, texts: of each check. but_ok: the levels that are not, without warnings of the time. failed: its end.
    """

    def __init__(self, url: str, *arguments: str) -> None:
        out = io.StringIO()
        self.failed = False
        self.error = ""
        try:
            call_command("chatdoctor", url, *arguments, stdout=out, no_color=True)
        except CommandError as error:
            self.failed = error.returncode == 1
            self.error = str(error)
        self.printed = out.getvalue()
        lines = re.findall(r"^(\w+) +([^:]+): (.*)$", self.printed, re.MULTILINE)
        self.levels = {check: level for level, check, _text in lines}
        self.texts = {check: text for _level, check, text in lines}
        expected = {(check, "warn") for check in TIMED}
        self.but_ok = {check: level for check, level in self.levels.items() - expected if level != "ok"}


def examine(port: int) -> dict[str, Finding]:
    """Return what an impatient examination finds: 4 s in place of 15."""
    with _session(make_user()) as headers:
        checkup = Checkup(Probe(f"http://localhost:{port}/chat/", headers, timeout=4), is_quick=True)
        found = {finding.check: finding for finding in checkup.run()}
        checkup.clean_up()
    return found


class Around:
    """An application with something before it."""

    def __init__(self, application: Any = None) -> None:
        self._application = application or ASGIHandler()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._application(scope, receive, send)


class Holding(Around):
    """Passes a body on when it has so many pieces of it, or all."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self._pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kept: list[Any] = []

        async def hold(message: Any) -> None:
            kept.append(message)
            is_over = message["type"] == "http.response.body" and not message.get("more_body")
            if len(kept) > self._pieces or is_over:
                while kept:
                    await send(kept.pop(0))

        await super().__call__(scope, receive, hold)


class Replacing(Around):
    """Sets a header of every answer itself."""

    def __init__(self, name: bytes, value: bytes) -> None:
        super().__init__()
        self._header = name, value

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def replace(message: Any) -> None:
            if "headers" in message:
                kept = [
                    pair for pair in message["headers"] if pair[0].lower() not in (self._header[0], b"content-length")
                ]
                message = {**message, "headers": [*kept, self._header]}
            await send(message)

        await super().__call__(scope, receive, replace)


class Compressing(Replacing):
    """Compresses every answer, whatever its headers say."""

    def __init__(self) -> None:
        super().__init__(b"content-encoding", b"gzip")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        compressor = zlib.compressobj(wbits=31)

        async def compress(message: Any) -> None:
            if "body" in message:
                data = compressor.compress(message["body"])
                message = {**message, "body": data if message.get("more_body") else data + compressor.flush()}
            await send(message)

        await super().__call__(scope, receive, compress)


class Without(Around):
    """Does not pass a header on."""

    def __init__(self, header: bytes) -> None:
        super().__init__()
        self._header = header

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != self._header]
        await super().__call__({**scope, "headers": headers}, receive, send)


class Redirecting(Around):
    """Answers every request with a redirect to the same address."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", scope["path"].encode())]
        await send({"type": "http.response.start", "status": 301, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class WSGIServerThread:
    """Django's own WSGI server in a thread, over the test database."""

    def __init__(self) -> None:
        self._server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
        self._server.set_app(WSGIHandler())
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@override_settings(**SETTINGS)
class DoctorTestCase(TransactionTestCase):
    """Whatever it finds, nothing is left of it."""

    def tearDown(self) -> None:
        writer.wait_until_idle(10)

        assert not LiveReply.objects.exists()
        assert not Conversation.objects.exists()
        assert not Session.objects.exists()
        assert not get_user_model().objects.filter(username__startswith="chatdoctor").exists()


class DirectTests(DoctorTestCase):
    def test_a_good_server(self):
        with ThreadServer() as server:
            examined = Examined(f"http://localhost:{server.port}/chat/")

        # Without TLS there is no HTTP/2.
        assert examined.but_ok == {"protocol": "warn"}, examined.printed
        assert set(examined.levels) >= {"gaps", "resume", "stop", "disconnect", "grace", "idle", "clocks"}
        assert not examined.failed

    def test_as_a_user_of_the_site(self):
        make_user("bo")
        with ThreadServer() as server:
            examined = Examined(f"http://localhost:{server.port}/chat", "--user", "bo", "--quick")

        assert examined.but_ok == {"protocol": "warn"}, examined.printed
        assert "idle" not in examined.levels
        assert get_user_model().objects.get().username == "bo"

    def test_a_user_that_there_is_not(self):
        examined = Examined("http://localhost/chat/", "--user", "nobody")

        assert examined.error == "There is no user 'nobody'."

    def test_no_address(self):
        examined = Examined("chat.example.com")

        assert "must begin with http or https" in examined.error

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        examined = Examined(f"http://127.0.0.1:{port}/chat/")

        assert examined.failed
        assert "Nothing answers" in examined.texts["reachable"]

    def test_mounted_elsewhere(self):
        with ThreadServer() as server:
            examined = Examined(f"http://localhost:{server.port}/talk/")

        assert "The app is not here (404)" in examined.texts["reachable"]

    def test_a_host_that_is_not_allowed(self):
        with ThreadServer() as server, override_settings(ALLOWED_HOSTS=["chat.example.com"]):
            examined = Examined(f"http://localhost:{server.port}/chat/")

        assert "ALLOWED_HOSTS" in examined.texts["reachable"]

    def test_a_redirect_to_itself(self):
        """What HTTPS behind a proxy without X-Forwarded-Proto is, but for the scheme."""
        with ThreadServer(Redirecting()) as server:
            examined = Examined(f"http://localhost:{server.port}/chat/")

        assert "X-Forwarded-Proto" in examined.texts["reachable"]

    def test_the_environment_of_another_site(self):
        with ProcessServer({"SECRET_KEY": "of another site"}) as server:
            examined = Examined(f"http://localhost:{server.port}/chat/")

        assert "SECRET_KEY" in examined.texts["session"]
        assert examined.failed

    def test_a_model_that_is_not_offered(self):
        with ThreadServer() as server:
            examined = Examined(f"http://localhost:{server.port}/chat/", "--model", "openai:gpt")

        assert "openai:gpt is not offered" in examined.texts["session"]

    def test_a_refused_token(self):
        with ThreadServer(Without(b"x-csrftoken")) as server:
            examined = Examined(f"http://localhost:{server.port}/chat/")

        assert "forward the X-CSRFToken header" in examined.texts["sending"]


class DisconnectTests(DoctorTestCase):
    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0)
    def test_without_a_grace(self):
        with ThreadServer() as server:
            examined = Examined(f"http://localhost:{server.port}/chat/", "--quick")

        assert examined.but_ok == {"protocol": "warn", "grace": "warn"}, examined.printed
        assert "A reload or a lost connection ends the reply" in examined.texts["grace"]

    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=30)
    def test_with_a_grace(self):
        with ThreadServer() as server:
            examined = Examined(f"http://localhost:{server.port}/chat/", "--quick")

        assert examined.but_ok == {"protocol": "warn"}, examined.printed
        assert "DISCONNECT_GRACE_SECONDS is 30" in examined.texts["grace"]


class BufferingTests(DoctorTestCase):
    def test_events_that_come_in_bursts(self):
        with ThreadServer(Holding(40)) as server:
            examined = Examined(f"http://localhost:{server.port}/chat/")

        assert examined.but_ok == {"protocol": "warn", **BUFFERED}, examined.printed
        assert "Buffering" in examined.texts["gaps"]
        assert "proxy_buffering off" in examined.texts["gaps"]
        assert examined.failed

    def test_events_that_wait_for_the_end(self):
        with ThreadServer(Holding(100_000)) as server:
            found = examine(server.port)

        assert found["stream"].level == "FAIL"
        assert "Buffering: nothing arrived in 4 s" in found["stream"].text

    def test_compression(self):
        with ThreadServer(Compressing()) as server:
            found = examine(server.port)

        assert (found["encoding"].level, found["stream"].level) == ("FAIL", "FAIL")
        assert "Compressed (gzip)" in found["encoding"].text

    def test_headers_that_something_replaced(self):
        with ThreadServer(Replacing(b"cache-control", b"max-age=60")) as server:
            examined = Examined(f"http://localhost:{server.port}/chat/", "--quick")

        assert examined.but_ok == {"protocol": "warn", "headers": "FAIL"}, examined.printed
        assert "max-age=60" in examined.texts["headers"]


class ServerTests(DoctorTestCase):
    def test_wsgi(self):
        with WSGIServerThread() as server:
            examined = Examined(f"http://localhost:{server.port}/chat/")

        assert examined.but_ok == {"protocol": "warn", "server": "warn"}, examined.printed
        assert "each open reply occupies a thread" in examined.texts["server"]

    def test_wsgi_with_one_request_at_a_time(self):
        gunicorn = [
            sys.executable,
            "-m",
            "gunicorn",
            "django.core.wsgi:get_wsgi_application()",
            "--bind",
            "127.0.0.1:0",
        ]
        with Supervisor(SETTINGS, "--worker-class", "sync", command=gunicorn) as server:
            found = examine(server.port)

        assert "each open reply occupies a whole process" in found["server"].text
        assert "one request at a time?" in found["resume"].text

    def test_several_processes(self):
        with Supervisor(SETTINGS, "--workers", "2") as server:
            wait_until(lambda: server.log.count("Started server process") == 2)
            examined = Examined(f"http://localhost:{server.port}/chat/", "--quick")

        assert "answered: 2" in examined.texts.get("server", ""), examined.printed
        assert examined.levels["processes"] == "ok", examined.printed


class NginxTests(DoctorTestCase):
    """What nginx can do to a stream, and that the documented one does nothing."""

    pytestmark = pytest.mark.nginx

    def examined(self, *arguments: str, named: dict[str, Any] | None = None, **nginx: Any) -> Examined:
        with ProcessServer({**SETTINGS, **(named or {})}) as server, Nginx(server.port, **nginx) as before:
            wait_until(server.is_answering)
            return Examined(before.url, "--insecure", *arguments)

    def test_as_it_is_documented(self):
        examined = self.examined()

        assert examined.but_ok == {}, examined.printed
        assert "HTTP/2" in examined.texts["protocol"]
        assert "nginx" in examined.texts["reachable"]

    def test_a_certificate_of_its_own(self):
        with Nginx(1) as before:
            examined = Examined(before.url)

        assert "--insecure" in examined.texts["reachable"]

    def test_no_app_behind_it(self):
        with Nginx(1) as before:
            examined = Examined(before.url, "--insecure")

        assert "cannot reach the app (502)" in examined.texts["reachable"]

    def test_buffering(self):
        examined = self.examined("--quick", location="proxy_ignore_headers X-Accel-Buffering;\n")

        assert examined.but_ok == BUFFERED, examined.printed
        assert "Buffering" in examined.texts["gaps"]

    def test_compression(self):
        examined = self.examined(
            "--quick", location="proxy_hide_header Content-Encoding;\ngzip_types text/event-stream;\n"
        )

        assert examined.levels["encoding"] == "FAIL", examined.printed

    def test_no_word_of_https(self):
        without = ("proxy_set_header X-Forwarded-Proto $scheme;",)
        redirected = self.examined(named={"SECURE_SSL_REDIRECT": True}, without=without)
        served = self.examined(without=without)

        assert "It redirects to itself" in redirected.texts["reachable"]
        assert "Set X-Forwarded-Proto" in served.texts["address"]
        assert "CSRF_TRUSTED_ORIGINS" in served.texts["sending"]

    def test_too_little_patience(self):
        examined = self.examined(named={"STREAMING_CHAT_HEARTBEAT_SECONDS": 5}, location="proxy_read_timeout 3s;\n")

        assert examined.but_ok == {"idle": "FAIL"}, examined.printed
        assert "proxy_read_timeout" in examined.texts["idle"]
