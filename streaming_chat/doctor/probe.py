"""An HTTP client that measures times: it sends requests to the app from outside, through its proxies.

Each request has a connection of its own. Standard library only: HTTP/1.1, gzip and deflate.
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

# Errors of a connection.
FAULTS = (OSError, HTTPException)
_NONE: Mapping[str, str] = {}
_COMPRESSIONS = ("gzip", "deflate")
# For zlib: detect a gzip or zlib header, with any window size.
_AUTO_WBITS = 47
ENDINGS = ("done", "stopped", "interrupted", "failed")


class Answer(NamedTuple):
    """A complete response. seconds: from the first byte sent to the last received. at: time.time() in the middle of that."""

    status: int
    headers: Headers
    body: bytes
    seconds: float
    at: float

    def json(self) -> Any:
        """Return the body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Arrival(NamedTuple):
    """A frame of the simple format. at: when it arrived, by time.monotonic()."""

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

    asked_at: when the request was sent, by time.monotonic(). arrivals: the frames so far. heartbeats: when each arrived.
    is_over: nothing follows. fault: the error that ended it, if any.
    """

    def __init__(self, connection: HTTPConnection, asked_at: float) -> None:
        self._connection = connection
        # http.client drops the socket if the response ends with the connection.
        self._socket: socket.socket = connection.sock
        self._response: HTTPResponse = connection.getresponse()
        self._rest = b""
        self.status = self._response.status
        self.headers: Headers = self._response.headers
        self._inflate = zlib.decompressobj(wbits=_AUTO_WBITS) if self.encoding in _COMPRESSIONS else None
        self.asked_at = asked_at
        self.arrivals: list[Arrival] = []
        self.heartbeats: list[float] = []
        self.is_over = False
        self.fault: Exception | None = None

    @property
    def encoding(self) -> str:
        """The Content-Encoding; "" for none."""
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
        """Whether it was cut, or ended without its last event."""
        return self.is_over and not self.ending and not isinstance(self.fault, TimeoutError)

    @property
    def ending(self) -> str:
        """The name of its last event; "" before it."""
        return next((arrival.name for arrival in self.arrivals if arrival.name in ENDINGS), "")

    def read(self, until: Callable[[Stream], object], seconds: float) -> bool:
        """Read until the condition holds; False if the stream ends before, or after this many seconds."""
        deadline = time.monotonic() + seconds
        while not until(self):
            left = deadline - time.monotonic()
            if self.is_over or left <= 0:
                return False
            self._read_some(left)
        return True

    def read_json(self) -> Any:
        """Return the body of a response that is no stream; None if it is not JSON."""
        try:
            body = self._response.read()
            return json.loads(self._inflate.decompress(body) if self._inflate else body)
        except (ValueError, zlib.error, *FAULTS):
            return None
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection, as a closed browser tab does."""
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
            self._parse(self._inflate.decompress(data) if self._inflate else data, at)
        except (*FAULTS, zlib.error) as error:
            # After a timeout, the socket cannot be read again.
            self.is_over = True
            self.fault = error

    def _parse(self, data: bytes, at: float) -> None:
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
            self._parse_block(block, at)

    def _parse_block(self, block: bytes, at: float) -> None:
        fields = dict(line.partition(": ")[::2] for line in block.decode(errors="replace").split("\n"))
        try:
            data = json.loads(fields.get("data", ""))
        except ValueError:
            return
        if isinstance(data, dict):
            self.arrivals.append(Arrival(at, fields.get("event", "message"), fields.get("id", ""), data))


class Probe:
    """Sends requests to the app at a URL. headers: of every request, such as the session's cookie.

    is_insecure: accept any certificate. timeout: longest wait for a byte, in seconds.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, is_insecure: bool = False, timeout: float = 15.0
    ) -> None:
        self.timeout = timeout
        self.url = url.rstrip("/") + "/"
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the URL must begin with http or https, got {url!r}.")
        self.is_secure = parts.scheme == "https"
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

    def request(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] = _NONE) -> Answer:
        """Return a complete response. Raises FAULTS."""
        started, clock = time.monotonic(), time.time()
        connection = self._send(method, path, body, headers)
        try:
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.headers.get("Content-Encoding", "").lower() in _COMPRESSIONS:
            content = zlib.decompress(content, wbits=_AUTO_WBITS)
        taken = time.monotonic() - started
        return Answer(response.status, response.headers, content, taken, clock + taken / 2)

    def open(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] = _NONE) -> Stream:
        """Return a stream, once its headers have arrived. Raises FAULTS."""
        asked_at = time.monotonic()
        connection = self._send(method, path, body, headers)
        try:
            return Stream(connection, asked_at)
        except BaseException:
            connection.close()
            raise

    def offers_http2(self) -> bool:
        """Return whether a browser would use HTTP/2, which requires TLS. Raises FAULTS."""
        if not self.is_secure:
            return False
        context = self._context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        host, port = self._address
        with (
            socket.create_connection((host, port or 443), self.timeout) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return secure.selected_alpn_protocol() == "h2"

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> HTTPConnection:
        host, port = self._address
        connection = (
            HTTPSConnection(host, port, timeout=self.timeout, context=self._context())
            if self.is_secure
            else HTTPConnection(host, port, timeout=self.timeout)
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
