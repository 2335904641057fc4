"""Real servers and clients over real sockets: uvicorn in a thread or in a process, and a client that leaves as clients do.

    class StopTests(ServerTestCase):
        def test_…(self):
            self.provider.script(Script(["a", "b"], gates={1: gate}))
            exchange = self.browser.send("Hello")
            exchange.until_text("a")
            exchange.leave("reset")

A `ServerTestCase` has a loopback provider, a server in a thread over the test database, a signed-in browser, and looks
after each test that nothing is left of a live reply.
"""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil
import uvicorn
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.test import TransactionTestCase, override_settings

from streaming_chat.accounts.owners import make_visitor
from streaming_chat.engine import outages
from streaming_chat.engine.follower import follower
from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.protocol import endings, events

from .database import database_url
from .factories import make_user
from .provider_server import TIMEOUT, ProviderServer

WIRES = ("openai", "anthropic", "responses")
ENDINGS = ("done", "stopped", "interrupted", "failed")
_RESET = struct.pack("ii", 1, 0)
_CSRF = "a" * 32
_LISTENING = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)")


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT) -> Any:
    """Return the condition's first true value. Raises AssertionError when there is none for so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"this did not come true within {seconds} s.")
        time.sleep(0.01)
    return value


def site(provider: ProviderServer) -> dict[str, Any]:
    """Return settings of a site whose models are a loopback provider's, in each wire format."""
    return {
        "STREAMING_CHAT_PROVIDERS": {
            "openai": {
                "BACKEND": "streaming_chat.providers.openai.OpenAIProvider",
                "OPTIONS": {"api_key": "test", "base_url": provider.openai_url},
            },
            "anthropic": {
                "BACKEND": "streaming_chat.providers.anthropic.AnthropicProvider",
                "OPTIONS": {"api_key": "test", "base_url": provider.anthropic_url},
            },
            "responses": {
                "BACKEND": "streaming_chat.providers.openai_responses.OpenAIResponsesProvider",
                "OPTIONS": {"api_key": "test", "base_url": provider.openai_url},
            },
        },
        "STREAMING_CHAT_MODELS": ["openai:any", "anthropic:any", "responses:any", "openai:*", "anthropic:*"],
        "STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER": 1000,
        "STREAMING_CHAT_FLUSH_SECONDS": 0.1,
    }


class Frame(NamedTuple):
    """One frame of the simple format. data: decoded, except for [DONE]. raw: its bytes, with the blank line."""

    id: str
    event: str
    data: Any
    raw: bytes

    @property
    def position(self) -> int | None:
        """Units before the next event; None for an ending."""
        number = self.id.rpartition("/")[2]
        return int(number) if number.isdecimal() else None


def parse_frame(raw: bytes) -> Frame:
    """Return a frame; comments before it are left out."""
    fields = {}
    for line in raw.decode("ascii").split("\n"):
        name, _, value = line.partition(": ")
        if name and not line.startswith(":"):
            fields[name] = value
    data = fields["data"]
    return Frame(
        fields.get("id", ""), fields.get("event", "message"), data if data == "[DONE]" else json.loads(data), raw
    )


class Exchange:
    """One request on a connection of its own, and the answer as it comes.

    writes: the chunks of the body so far, as the server wrote them. frames: those read so far.
    """

    def __init__(self, port: int, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.writes: list[bytes] = []
        self.frames: list[Frame] = []
        self.is_ended = False
        self._status = 0
        self._rest = b""
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._file = self._socket.makefile("rb")
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    @property
    def status(self) -> int:
        """The HTTP status, once it is here."""
        if not self._status:
            self._status = int(self._file.readline().split()[1])
            self.headers = {}
            while (line := self._file.readline().strip()) != b"":
                name, _, value = line.decode("latin-1").partition(":")
                self.headers[name.lower()] = value.strip()
        return self._status

    @property
    def text(self) -> str:
        """The text read so far, as the simple format wants it read."""
        text = ""
        for frame in self.frames:
            text = "" if frame.event == "reset" else text
            text += frame.data["text"] if frame.data != "[DONE]" else ""
        return text

    @property
    def message_id(self) -> uuid.UUID:
        """The reply, once a frame named it."""
        return uuid.UUID(self.frames[0].id.partition("/")[0])

    @property
    def endings(self) -> list[Frame]:
        """The ending frames read so far."""
        return [frame for frame in self.frames if frame.event in ENDINGS]

    def json(self) -> Any:
        """Return the body of an answer that is no stream."""
        if self.status and "content-length" in self.headers:
            return json.loads(self._file.read(int(self.headers["content-length"])))
        return json.loads(self.body())

    def body(self, writes: int | None = None) -> bytes:
        """Return the body of an answer in chunks: all of it, or its first chunks."""
        while (writes is None or len(self.writes) < writes) and self._write():
            pass
        return b"".join(self.writes)

    def until(self, condition: Callable[[], object]) -> Self:
        """Read until the condition holds. Raises AssertionError when the stream ends before."""
        while not condition():
            if not self._next_frame():
                raise AssertionError(f"the stream ended before, with {self.frames[-3:]}.")
        return self

    def until_text(self, text: str) -> Self:
        """Read until exactly so much text is here."""
        return self.until(lambda: self.text == text)

    def rest(self) -> Self:
        """Read to the end of the answer."""
        while self._next_frame():
            pass
        return self

    def leave(self, how: str) -> None:
        """Leave: "close" sends FIN, "reset" sends RST, "half" says that no more is asked and goes on listening."""
        if how == "half":
            self._socket.shutdown(socket.SHUT_WR)
            return
        if how == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def _next_frame(self) -> bool:
        if self.status != 200:
            raise AssertionError(f"a stream was wanted, got {self.status}: {self.json()}")
        while b"\n\n" not in self._rest:
            if not self._write():
                return False
        raw, _, self._rest = self._rest.partition(b"\n\n")
        self.frames.append(parse_frame(raw + b"\n\n"))
        return True

    def _write(self) -> bool:
        """Read one chunk of the body; False at its end."""
        if self.is_ended or not self.status:
            return False
        size = int(self._file.readline() or b"0", 16)
        data = self._file.read(size + 2)[:size]
        self.is_ended = not data
        if data:
            self.writes.append(data)
        self._rest += data
        return bool(data)


class Browser:
    """A signed-in user's browser, as far as its requests go. session: its cookie, in place of the user's; "" for none."""

    def __init__(self, port: int, user: Any = None, session: str | None = None) -> None:
        self.port = port
        self.user = user or make_user()
        self.session = _session(self.user) if session is None else session
        self.exchanges: list[Exchange] = []

    @classmethod
    def of_visitor(cls, port: int) -> Self:
        """Return a browser that nobody has signed in with, and that has sent something before."""
        return cls(port, session=_visitor_session())

    def sign_in(self) -> None:
        """Sign its user in, in the session that it has."""
        _sign_in(_session_store(self.session), self.user)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Exchange:
        """Ask for a path of the app, or with a slash before it of the site."""
        cookies = f"{settings.CSRF_COOKIE_NAME}={_CSRF}"
        if self.session:
            cookies += f"; {settings.SESSION_COOKIE_NAME}={self.session}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"Content-Type": "application/json"} if body is not None else {}
        data = b"" if body is None else json.dumps(body).encode()
        address = path if path.startswith("/") else f"/chat/{path}"
        exchange = Exchange(
            self.port, method, address, {"Cookie": cookies, "X-CSRFToken": _CSRF, **content, **named}, data
        )
        self.exchanges.append(exchange)
        return exchange

    def get(self, path: str, **headers: str) -> Exchange:
        """GET."""
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Exchange:
        """POST JSON."""
        return self.request("POST", path, {} if body is None else body, **headers)

    def send(self, content: str, **body: Any) -> Exchange:
        """Send in a new conversation."""
        return self.post("api/messages", {"content": content, **body})

    def follow(self, message_id: uuid.UUID, last_id: str = "") -> Exchange:
        """Follow a reply, from its beginning or from the id of an event."""
        headers = {"Last_Event_ID": last_id} if last_id else {}
        return self.get(f"api/messages/{message_id}/events", **headers)

    def stop(self, message_id: uuid.UUID, **body: Any) -> Exchange:
        """Stop a reply."""
        return self.post(f"api/messages/{message_id}/stop", body)

    def close(self) -> None:
        """Close all connections."""
        for exchange in self.exchanges:
            exchange.close()


class ThreadServer:
    """uvicorn in a thread of this process, over the test database. loop: its event loop."""

    def __init__(self, app: Any = None) -> None:
        config = uvicorn.Config(
            app or ASGIHandler(), lifespan="off", log_level="warning", timeout_graceful_shutdown=1, backlog=4096
        )
        self._server = uvicorn.Server(config)
        self._factory = config.get_loop_factory()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self._socket.getsockname()[1]
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="uvicorn", daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(self, *args: object) -> None:
        self._server.should_exit = True
        self._thread.join(TIMEOUT)

    def tasks(self) -> int:
        """Return how many tasks its loop has, this look not counted."""

        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(TIMEOUT)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._factory) as thread_runner:
            self.loop = thread_runner.get_loop()
            thread_runner.run(self._server.serve(sockets=[self._socket]))


class ProcessServer:
    """uvicorn in a process of its own, over the same test database.

    named: its settings beyond the suite's. arguments: the server's. command: of another server than uvicorn.
    """

    def __init__(self, named: dict[str, Any], *arguments: str, command: Sequence[str] = ()) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="streaming_chat_", suffix=".log")  # noqa: SIM115  (until exit)
        uvicorn = [sys.executable, "-m", "uvicorn", "tests.asgi:application", "--port", "0", "--lifespan", "off"]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.served",
            "DATABASE_URL": database_url(),
            "STREAMING_CHAT_TEST_SETTINGS": json.dumps(named),
        }
        self.process = subprocess.Popen(
            [*(command or uvicorn), *arguments],
            cwd=Path(__file__).parent.parent,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.port = 0

    @property
    def log(self) -> str:
        """What it printed."""
        return Path(self._log.name).read_text()

    def __enter__(self) -> Self:
        found = wait_until(lambda: _LISTENING.search(self.log) or self.process.poll() is not None, 60)
        assert not isinstance(found, bool), self.log
        self.port = int(found[1])
        return self

    def __exit__(self, *args: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()

    def is_answering(self) -> bool:
        """Whether it answers; when it has, it has loaded the site."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", "/chat/health")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, and wait until it is dead."""
        self.process.kill()
        self.process.wait()


class GunicornServer(ProcessServer):
    """gunicorn and its workers, in processes of their own. arguments: gunicorn's."""

    def __init__(self, named: dict[str, Any], *arguments: str) -> None:
        command = (sys.executable, "-m", "gunicorn", "tests.wsgi:application", "--bind", "127.0.0.1:0")
        super().__init__(named, "--no-control-socket", *arguments, command=command)

    @property
    def workers(self) -> list[psutil.Process]:
        """The workers there are, oldest first."""
        found = psutil.Process(self.process.pid).children()
        return sorted(found, key=lambda worker: worker.create_time())

    def __exit__(self, *args: object) -> None:
        workers = self.workers if self.process.poll() is None else []
        super().__exit__(*args)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()


class Supervisor(ProcessServer):
    """A process that serves by workers of its own: they end when it is told to, and would stay if it were killed."""

    def __enter__(self) -> Self:
        super().__enter__()
        # It says where before it listens, and its workers load the site after that.
        wait_until(self.is_answering, 60)
        return self

    def __exit__(self, *args: object) -> None:
        self.terminate()
        self.process.wait(60)
        super().__exit__(*args)


class ServerTestCase(TransactionTestCase):
    """Has a provider, a server in a thread and a browser; nothing may be left of a live reply after a test."""

    provider: ProviderServer
    server: ThreadServer

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.provider = cls.enterClassContext(ProviderServer())
        cls.enterClassContext(override_settings(**site(cls.provider)))
        cls.server = cls.enterClassContext(ThreadServer())

    def setUp(self) -> None:
        self.provider.clear()
        self.provider.by_text.clear()
        # A model that an earlier test could not reach would be asked last.
        outages.forget()
        self.browser = Browser(self.server.port)
        self.addCleanup(self.check_nothing_is_live)
        self.addCleanup(self.browser.close)

    def check_nothing_is_live(self) -> None:
        """Wait for the writer and look at the rows."""
        idle = writer.wait_until_idle(TIMEOUT) and follower.wait_until_idle(TIMEOUT)
        rows = (
            Message.objects.filter(status__in=endings.LIVE).count(),
            LiveReply.objects.count(),
            ReplyEvent.objects.count(),
        )

        assert idle
        assert rows == (0, 0, 0)
        assert runner.live == []

    def ended(self, message_id: uuid.UUID) -> Message:
        """Return a reply once its ending is saved."""
        return wait_until(lambda: Message.objects.exclude(status__in=endings.LIVE).filter(pk=message_id).first())

    def reply_to(self, content: str) -> Message:
        """Return the reply to the only message of this text, once its ending is saved."""
        replies = Message.objects.exclude(status__in=endings.LIVE).filter(parent__text=content)
        return wait_until(replies.first)


def received_text(message: Message) -> str:
    """Return all text that is saved of a reply, that beyond its cut too."""
    return events.text_of(message.events(whole=True))


def outcome(message: Message) -> tuple[str, str, str]:
    """Return how a reply ended."""
    return message.status, message.end_reason, message.error_code


@contextlib.contextmanager
def held(*gates: Any) -> Iterator[None]:
    """Open these gates at the end, whatever happens."""
    try:
        yield
    finally:
        for gate in gates:
            gate.open()


def _visitor_session() -> str:
    """Return the key of a session that holds a visitor's id."""
    request = HttpRequest()
    request.session = _session_store()
    make_visitor(request)
    request.session.save()
    return request.session.session_key


def _session(user: Any) -> str:
    """Return the key of a session that this user is signed in to."""
    return _sign_in(_session_store(), user)


def _session_store(session_key: str | None = None) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(session_key)


def _sign_in(store: Any, user: Any) -> str:
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return store.session_key
