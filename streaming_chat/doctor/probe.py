"""An HTTP client that watches the clock: asks an app from outside, through whatever stands before it.

Each request has a connection of its own, as a browser's first has. Only the standard library: HTTP/1.1, gzip and deflate.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from email.message import Message as Headers
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from streaming_chat.protocol.sse import HEARTBEAT

# What closes a connection, or keeps one from being made.
FAULTS = (OSError, HTTPException)
_NONE: Mapping[str, str] = {}
_COMPRESSIONS = ("gzip", "deflate")
# Of zlib: a header of gzip or zlib, and any size.
_ANY_WINDOW = 47
ENDINGS = ("done", "stopped", "interrupted", "failed")


class Answer(NamedTuple):
    """A whole answer. seconds: from the first byte sent to the last one received. at: time.time() in the middle of that."""

    status: int
    headers: Headers
    body: bytes
    seconds: float
    at: float

    def json(self) -> Any:
        """Return the body, None when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Arrival(NamedTuple):
    """One frame of the simple format, and when it was here, by time.monotonic()."""

    at: float
    name: str
    id: str
    data: dict[str, Any]

    @property
    def position(self) -> int | None:
        """Units before the next event; None for an ending."""
        number = self.id.rpartition("/")[2]
        return int(number) if number.isdecimal() else None


class Stream:
    """A reply's stream, as it arrives.

    asked_at: when the request was sent, by time.monotonic(). arrivals: the frames so far. heartbeats: when each was here.
    is_over: nothing follows. fault: what cut it, if anything did.
    """

    def __init__(self, connection: HTTPConnection, asked_at: float) -> None:
        self._connection = connection
        # http.client lets go of the socket where the answer ends with the connection.
        self._socket: socket.socket = connection.sock
        self._response: HTTPResponse = connection.getresponse()
        self._rest = b""
        self.status = self._response.status
        self.headers: Headers = self._response.headers
        self._inflate = zlib.decompressobj(wbits=_ANY_WINDOW) if self.encoding in _COMPRESSIONS else None
        self.asked_at = asked_at
        self.arrivals: list[Arrival] = []
        self.heartbeats: list[float] = []
        self.is_over = False
        self.fault: Exception | None = None

    @property
    def encoding(self) -> str:
        """How the body is encoded; "" when it is not."""
        encoding = self.headers.get("Content-Encoding", "").lower()
        return "" if encoding == "identity" else encoding

    @property
    def text(self) -> str:
        """The text so far."""
        text = ""
        for arrival in self.arrivals:
            text = "" if arrival.name == "reset" else text + arrival.data.get("text", "")
        return text

    @property
    def last_id(self) -> str:
        """The id to resume at."""
        return self.arrivals[-1].id if self.arrivals else ""

    @property
    def was_cut(self) -> bool:
        """Whether it broke off, or ended without its last event."""
        return self.is_over and not self.ending and not isinstance(self.fault, TimeoutError)

    @property
    def ending(self) -> str:
        """The name of its last event, "" while there is none."""
        return next((arrival.name for arrival in self.arrivals if arrival.name in ENDINGS), "")

    def read(self, until: Callable[[Stream], object], seconds: float) -> bool:
        """Read until the condition holds; False where the stream is over before, or it took longer."""
        deadline = time.monotonic() + seconds
        while not until(self):
            left = deadline - time.monotonic()
            if self.is_over or left <= 0:
                return False
            self._read_some(left)
        return True

    def whole_body(self) -> Any:
        """Return the JSON of an answer that is no stream, None when it is none."""
        try:
            body = self._response.read()
            return json.loads(self._inflate.decompress(body) if self._inflate else body)
        except (ValueError, zlib.error, *FAULTS):
            return None
        finally:
            self.leave()

    def leave(self) -> None:
        """Close the connection, as a tab that is closed."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
        finally:
            self._response.close()
            self._connection.close()

    def _read_some(self, seconds: float) -> None:
        try:
            self._socket.settimeout(seconds)
            data = self._response.read1(65_536)
            at = time.monotonic()
            self.is_over = not data
            self._take(self._inflate.decompress(data) if self._inflate else data, at)
        except (*FAULTS, zlib.error) as error:
            # A socket that has waited too long cannot be read again.
            self.is_over = True
            self.fault = error

    def _take(self, data: bytes, at: float) -> None:
        self._rest += data
        while True:
            if self._rest.startswith(HEARTBEAT):
                self._rest = self._rest[len(HEARTBEAT) :]
                self.heartbeats.append(at)
                continue
            block, end, rest = self._rest.partition(b"\n\n")
            if not end:
                return
            self._rest = rest
            self._take_block(block, at)

    def _take_block(self, block: bytes, at: float) -> None:
        fields = dict(line.partition(": ")[::2] for line in block.decode(errors="replace").split("\n"))
        try:
            data = json.loads(fields.get("data", ""))
        except ValueError:
            return
        if isinstance(data, dict):
            self.arrivals.append(Arrival(at, fields.get("event", "message"), fields.get("id", ""), data))


class Probe:
    """Asks the app that is mounted at a URL. headers: of every request, such as the session's cookie.

    is_insecure: certificates are taken as they come. patience: longest wait for any byte, in seconds.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, is_insecure: bool = False, patience: float = 15.0
    ) -> None:
        self.patience = patience
        self.url = url.rstrip("/") + "/"
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"a URL with http or https was wanted, got {url!r}.")
        self.is_secure = parts.scheme == "https"
        self.host = parts.netloc
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._address = parts.hostname, parts.port
        self._path = parts.path
        self._headers = {
            "Origin": self.origin,
            "Referer": self.url,
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "Mozilla/5.0 (chatdoctor)",
            **headers,
        }
        self._is_insecure = is_insecure

    def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] = _NONE) -> Answer:
        """Return a whole answer. Raises what FAULTS names."""
        started, clock = time.monotonic(), time.time()
        connection = self._send(method, path, body, headers)
        try:
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.headers.get("Content-Encoding", "").lower() in _COMPRESSIONS:
            content = zlib.decompress(content, wbits=_ANY_WINDOW)
        taken = time.monotonic() - started
        return Answer(response.status, response.headers, content, taken, clock + taken / 2)

    def open(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] = _NONE) -> Stream:
        """Return a stream, once its headers are here. Raises what FAULTS names."""
        asked_at = time.monotonic()
        connection = self._send(method, path, body, headers)
        try:
            return Stream(connection, asked_at)
        except BaseException:
            connection.close()
            raise

    def offers_http2(self) -> bool:
        """Return whether a browser would get HTTP/2, which it speaks over TLS only. Raises what FAULTS names."""
        if not self.is_secure:
            return False
        context = self._context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        host, port = self._address
        with (
            socket.create_connection((host, port or 443), self.patience) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return secure.selected_alpn_protocol() == "h2"

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> HTTPConnection:
        host, port = self._address
        connection = (
            HTTPSConnection(host, port, timeout=self.patience, context=self._context())
            if self.is_secure
            else HTTPConnection(host, port, timeout=self.patience)
        )
        content = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._path + path, data, {**self._headers, **content, **headers})
        except BaseException:
            connection.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
