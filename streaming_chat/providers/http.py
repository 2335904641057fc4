"""What providers over HTTP share: reading bytes as they arrive, and telling failures apart. Imports no SDK.

An SDK opens the stream (authentication, URL, TLS, proxies). Its own way of reading costs 45 µs a network read
and its models 75 µs an event; here it is aiohttp's own read, our splitter and one JSON parse.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import weakref
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from copy import copy
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Any, Self

from django.core.exceptions import ImproperlyConfigured

from streaming_chat.conf import conf
from streaming_chat.events import TOOL_CALL, Event, storable
from streaming_chat.exceptions import ProviderError
from streaming_chat.sse import Splitter

from .base import ProviderStream

try:
    from jiter import from_json
except ImportError:  # It comes with either SDK; without one there is nothing to parse.
    from_json = json.loads

# aiohttp takes None for 100; a process writes up to STREAMING_CHAT_MAX_LIVE_REPLIES (2 000) at once.
MAX_CONNECTIONS = 10_000
# How long an idle connection is kept, in seconds: a new one costs two round trips and a TLS handshake.
KEEPALIVE_SECONDS = 15.0
# Patience with the end of a body whose last event is here, in seconds: read to its end, the connection is
# used again.
DRAIN_SECONDS = 0.05
# Longest body that is read whole because it is no stream, in bytes.
MAX_WHOLE_BYTES = 8 * 1024 * 1024
# Longest call id, in characters; some gateways put whole traces there.
MAX_REQUEST_ID = 255
MAX_FINISH_REASON = 64
MAX_TOKENS_COUNTED = 2**31 - 1

# Every other word (end_turn, stop_sequence, pause_turn, stop, eos, words of tomorrow) is a stop.
END_REASONS = {
    "refusal": "content_filter",
    "content_filter": "content_filter",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "model_length": "length",
    "length": "length",
    "tool_use": "tool_calls",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}

# Status -> our code, and whether the same call may succeed when made again now.
STATUS_CODES = {
    401: ("provider_auth", False),
    402: ("provider_auth", False),
    403: ("provider_auth", False),
    404: ("provider_rejected", False),
    408: ("provider_timeout", True),
    409: ("provider_unavailable", True),
    413: ("context_too_long", False),
}

# A word in an error's type or code -> the same; the first that is found decides.
ERROR_WORDS = {
    "insufficient_quota": ("provider_rate_limited", False),
    "rate_limit": ("provider_rate_limited", True),
    "context_length": ("context_too_long", False),
    "request_too_large": ("context_too_long", False),
    "model_not_found": ("model_unknown", False),
    "authentication": ("provider_auth", False),
    "invalid_api_key": ("provider_auth", False),
    "permission": ("provider_auth", False),
    "billing": ("provider_auth", False),
    "overloaded": ("provider_unavailable", True),
    "unavailable": ("provider_unavailable", True),
    "timeout": ("provider_timeout", True),
    "not_found": ("provider_rejected", False),
    "invalid_request": ("provider_rejected", False),
    "server_error": ("provider_error", True),
    "api_error": ("provider_error", True),
}

# Most servers name these two causes in their message only ("prompt is too long: 210000 tokens > 200000
# maximum").
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|(prompt|input|request) (is|was) too (long|large)|too many (input )?tokens"
    r"|reduce the length|exceeds the maximum (number of )?(input )?tokens|token count.{0,40}exceed",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,80}(not.{0,10}(found|exist|available)|unknown|decommissioned)"
    r"|(unknown|invalid|no such|not a valid) model|^model: ",
    re.IGNORECASE,
)
_NO_KEY = re.compile(r"\bapi[ _-]?key\b", re.IGNORECASE)

# How an exception is recognised, by the names of its classes: nothing needs to be imported for it.
_TIMEOUTS = re.compile(r"Timeout")
_CONNECTION_MODULES = ("aiohttp", "httpx2", "httpx", "httpcore2", "httpcore", "h11", "anyio", "ssl", "socket")
_UNREADABLE = re.compile(r"Decod|ContentEncoding|InvalidHeader|BadStatusLine|LineTooLong|JSON|ResponseValidation")


class Secret:
    """A string that no log, error page or error tracker shows: its repr is empty."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return ""


class Clients:
    """One SDK client per event loop: a client used from a second loop fails, and one takes 22 ms to build.

    build: makes one, whose `close` is a coroutine function; it must not refer to this object's owner. A client is
    closed when its loop shuts down its asynchronous generators, as asyncio.run and asgiref do, or when this object
    goes. Loops that were closed otherwise are forgotten with the next client.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}

    async def get(self) -> Any:
        """Return the running loop's client."""
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None:
            # A client refers to its loop, so a weak dictionary would keep both for ever.
            for closed in [other for other in self._clients if other.is_closed()]:
                del self._clients[closed]
            client = self._build()
            keeper = _keep(weakref.ref(self), loop, client)
            self._clients[loop] = held = client, keeper
            await anext(keeper)
        return held[0]

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop a loop's client, which is closed."""
        self._clients.pop(loop, None)

    def __len__(self) -> int:
        return len(self._clients)


async def _keep(
    clients: weakref.ref[Clients], loop: asyncio.AbstractEventLoop, client: Any
) -> AsyncGenerator[None, None]:
    """Wait, suspended, for the loop's end; then close the client."""
    try:
        yield
    finally:
        if (holder := clients()) is not None:
            holder.forget(loop)
        await client.close()


class HttpStream(ProviderStream):
    """One reply over HTTP. A member says how it is opened and what an event means.

    A failure or the end is remembered until the events before it have been returned. It is raised by a frame
    that
    holds no text, and without the exception it comes from: those carry upstream bodies and keys.
    """

    request_id_header = "x-request-id"

    def __init__(self) -> None:
        self._context: AbstractAsyncContextManager[Any] | None = None
        self._splitter = Splitter()
        self._receive: Callable[[], Awaitable[bytes]] = _nothing
        self._whole = bytearray()
        self._is_stream = True
        self._failure: ProviderError | None = None
        self._done = False

    @abstractmethod
    async def _open(self) -> AbstractAsyncContextManager[Any]:
        """Return the SDK's context manager of a streaming response."""

    @abstractmethod
    def _take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Add what one event of the stream says; set `_done` where it is the last.

        May raise ProviderError, and anything at all for data of an unexpected shape, which is
        provider_protocol.
        """

    @abstractmethod
    def _take_whole(self, payload: dict[str, Any], events: list[Event]) -> None:
        """Add what a completion in one JSON body says. Raises as `_take_event`."""

    def _take_end(self, events: list[Event]) -> bool:
        """Add what is whole once the body has ended; return whether the reply is complete."""
        return bool(self.finish_reason)

    async def __aenter__(self) -> Self:
        try:
            self._context = await self._open()
            await self._use(await self._context.__aenter__())
        except Exception as error:  # noqa: BLE001 - every class an SDK or transport can raise becomes one of our codes.
            self._failure = opening_failure(error, self.request_id_header)
        if self._failure is not None:
            self.request_id = self._failure.request_id
            await self.__aexit__(None, None, None)
            raise copy(self._failure)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context, self._context = self._context, None
        if context is None:
            return
        try:
            if self._done:
                await self._drain()
        finally:
            with contextlib.suppress(Exception):
                await context.__aexit__(None, None, None)

    async def read(self) -> list[Event] | None:
        if not self._done and self._failure is None:
            events = await self._next()
            if events or not (self._done or self._failure):
                return events
        if self._failure is not None:
            # What is raised refers to frames and these to the stream: were it kept, that would be a cycle.
            raise copy(self._failure)
        return None

    async def _use(self, opened: Any) -> None:
        """Prepare to read the body of an SDK's response as it arrives."""
        response = opened.http_response
        self.request_id = clean(response.headers.get(self.request_id_header), MAX_REQUEST_ID)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            self._is_stream = False
        if response.headers.get("content-encoding", "identity").lower() in ("", "identity"):
            self._receive = raw_reader(response)
        else:
            self._receive = _iterated(response.aiter_bytes())

    async def _next(self) -> list[Event]:
        """Return the events of one network read; never raises."""
        events: list[Event] = []
        try:
            data = await self._receive()
        except Exception as error:  # noqa: BLE001 - as in __aenter__.
            self._end_body(events, reading_failure(error, self.request_id))
            return events
        if not self._is_stream:
            self._gather(data, events)
        elif data:
            self._take(data, events)
        else:
            self._take_rest(events)
            self._end_body(events, self._truncated())
        return events

    def _take(self, data: bytes, events: list[Event]) -> None:
        """Add the events of one network read."""
        try:
            for name, value in self._splitter.feed(data):
                self._take_event(name, value, events)
                if self._done:
                    return
        except Exception as error:  # noqa: BLE001 - data of any shape may come.
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Remember a failure; anything but our own means data of a shape that no provider should send."""
        if not isinstance(error, ProviderError):
            error = ProviderError("provider_protocol", request_id=self.request_id, detail=type(error).__name__)
        self._failure = error

    def _take_rest(self, events: list[Event]) -> None:
        """An event without the blank line that closes it counts if it is whole; half of one is a cut."""
        try:
            for name, value in self._splitter.rest():
                if not self._done:
                    self._take_event(name, value, events)
        except ProviderError as error:
            self._failure = error
        except Exception:  # noqa: BLE001, S110 - as in `_take`.
            pass

    def _end_body(self, events: list[Event], failure: ProviderError) -> None:
        """The body has ended, in good form or not: complete where the provider had said so."""
        if self._done or self._failure is not None:
            return
        if self._take_end(events):
            self._done = True
        else:
            self._failure = failure

    def _gather(self, data: bytes, events: list[Event]) -> None:
        """Collect a body that is no event stream, and take it at its end."""
        self._whole += data
        if data and len(self._whole) <= MAX_WHOLE_BYTES:
            return
        whole = bytes(self._whole)
        self._whole.clear()
        try:
            payload = parse(whole)
        except ValueError:
            self._take_mislabelled(whole, events)
            return
        try:
            self._take_whole(payload, events)
            self._done = True
        except Exception as error:  # noqa: BLE001 - as in `_take`.
            self._fail(error)

    def _truncated(self) -> ProviderError:
        return ProviderError("provider_truncated", retryable=True, request_id=self.request_id)

    def _take_mislabelled(self, data: bytes, events: list[Event]) -> None:
        """An event stream under another content type, which some gateways send; or a web page, which is unreadable."""
        if not data.lstrip(b"\xef\xbb\xbf\r\n ").startswith((b"data:", b"event:", b":")):
            self._failure = ProviderError("provider_protocol", request_id=self.request_id, detail="no event stream")
            return
        self._take(data, events)
        self._take_rest(events)
        self._end_body(events, self._truncated())

    def _reported(self, error: Any) -> ProviderError:
        """Return the failure that an error object inside the stream means."""
        code, retryable = error_code(_status_in(error), error, inside=True)
        return ProviderError(code, retryable=retryable, request_id=self.request_id, detail="error event")

    def _finish(self, word: Any) -> None:
        """Note the provider's word for the end; several in a row: the last; `error` is none."""
        if isinstance(word, str) and word and word != "error":
            self.finish_reason = clean(word, MAX_FINISH_REASON)
            self.end_reason = END_REASONS.get(word.lower(), "stop")

    async def _drain(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._receive():
                    pass


def import_sdk(name: str) -> ModuleType:
    """Return an SDK's module; that takes 0.5-2.8 s and 50-80 MB, so only a configured provider does it.

    Raises ImproperlyConfigured where it, or aiohttp, is not installed.
    """
    try:
        import_module("aiohttp")
        return import_module(name)
    except ImportError:
        raise ImproperlyConfigured(f"This provider needs: pip install 'streaming-chat[{name}]'.") from None


def http_client(sdk: ModuleType) -> Any:
    """Return an HTTP client for an SDK: over aiohttp, without redirects, for many connections."""
    httpx2 = import_module("httpx2")
    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_SECONDS
    )
    return sdk.DefaultAioHttpClient(limits=limits, timeout=None, follow_redirects=False)


def timeout() -> Any:
    """Return how long a connection may take, pool, DNS, TCP and TLS together; silence is the runner's to judge.

    No read timeout: aiohttp would move a timer at each read.
    """
    seconds = conf.STREAMING_CHAT_CONNECT_SECONDS
    return import_module("httpx2").Timeout(None, connect=seconds, pool=seconds)


def raw_reader(response: Any) -> Callable[[], Awaitable[bytes]]:
    """Return a coroutine function that returns the bytes of one network read, b"" at the end.

    It is aiohttp's own `readany`. The public iterators of httpx2 wrap it in four generators; they are used
    where these are built otherwise than today.
    """
    stream = response.stream
    while (inner := getattr(stream, "_stream", None)) is not None:
        stream = inner
    content = getattr(getattr(stream, "_aiohttp_response", None), "content", None)
    readany: Callable[[], Awaitable[bytes]] | None = getattr(content, "readany", None)
    return readany or _iterated(response.aiter_raw())


def _iterated(iterator: AsyncGenerator[bytes, None]) -> Callable[[], Awaitable[bytes]]:
    async def receive() -> bytes:
        async for data in iterator:
            if data:
                return data
        return b""

    return receive


async def _nothing() -> bytes:
    return b""


def parse(data: bytes) -> Any:
    """Return the value of JSON in UTF-8. Raises ValueError.

    jiter takes a third of json's time, and refuses lone surrogates ("\\ud83d"), which are repaired further
    down.
    """
    try:
        return from_json(data)
    except ValueError:
        try:
            return json.loads(data.decode())
        except RecursionError:
            raise ValueError("nested too deeply") from None


def clean(value: Any, length: int) -> str:
    """Return a provider's short string, storable and not longer than `length`; "" for anything else."""
    return storable(value)[:length] if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """Return a number of tokens, or None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS_COUNTED:
        return value
    return None


def tool_call(id: str, name: str, arguments: str, *, complete: bool) -> Event:
    """Return the event of a tool call; no arguments are an empty object."""
    return Event(
        TOOL_CALL,
        {"id": id, "name": name, "arguments": arguments or "{}", "complete": complete and is_json(arguments or "{}")},
    )


def is_json(text: str) -> bool:
    """Return whether this is whole JSON."""
    try:
        parse(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return True


def opening_failure(error: Exception, request_id_header: str) -> ProviderError:
    """Return what an exception before the first byte means."""
    if isinstance(error, ProviderError):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 300:
        return _refused(error, status, request_id_header)
    code, retryable = _connection_code(error, timed_out="provider_timeout", lost="provider_unavailable")
    return ProviderError(code, retryable=retryable, detail=_names(error))


def reading_failure(error: Exception, request_id: str) -> ProviderError:
    """Return what an exception in the middle of a body means."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, RuntimeError):  # aiohttp's "Connection closed.", where a read follows the loss.
        error = ConnectionResetError()
    code, retryable = _connection_code(error, timed_out="provider_stall", lost="provider_truncated")
    return ProviderError(code, retryable=retryable, request_id=request_id, detail=_names(error))


def _refused(error: Any, status: int, request_id_header: str) -> ProviderError:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    body = getattr(error, "body", None)
    code, retryable = error_code(status, body)
    return ProviderError(
        code,
        retryable=retryable,
        retry_after=retry_after(headers),
        status=status,
        request_id=clean(headers.get(request_id_header), MAX_REQUEST_ID),
        detail=type(error).__name__,
    )


def error_code(status: int | None, error: Any, *, inside: bool = False) -> tuple[str, bool]:
    """Return our code of an error, and whether the same call may succeed when made again now.

    status: of the HTTP response, or one that the error names. error: the decoded object, of whatever shape.
    inside: the error came in a stream that had begun, where a server's own fault is said by a word and is
    `provider_error`.
    """
    error = error[0] if isinstance(error, list) and error else error  # Gemini's form.
    inner = error.get("error", error) if isinstance(error, dict) else error
    words, message = _words_of(inner)
    if status in (None, 400, 404, 413, 422, 500) and message:
        if _TOO_LONG.search(message):
            return "context_too_long", False
        if status != 413 and _NO_MODEL.search(message):
            return "model_unknown", False
        if _NO_KEY.search(message):
            return "provider_auth", False
    if status == 429:
        return "provider_rate_limited", "insufficient_quota" not in words
    if status in STATUS_CODES and status != 404:
        return STATUS_CODES[status]
    if inside or (status is not None and status < 500):
        for word, meaning in ERROR_WORDS.items():
            if word in words:
                return meaning
    return _by_status(status)


def _by_status(status: int | None) -> tuple[str, bool]:
    if status is None or status < 300:
        return "provider_error", True
    if status >= 500:
        return "provider_unavailable", True
    return STATUS_CODES.get(status, ("provider_rejected", False))


def _words_of(error: Any) -> tuple[str, str]:
    """Return an error's machine words, in one lower-case string, and its message."""
    if not isinstance(error, dict):
        return "", error if isinstance(error, str) else ""
    words = [error.get(key) for key in ("type", "code", "status", "error_type")]
    details = error.get("details")
    if isinstance(details, dict):
        words.append(details.get("error_code"))
    message = error.get("message")
    return " ".join(str(word) for word in words if word).lower(), message if isinstance(message, str) else ""


def _status_in(error: Any) -> int | None:
    """Return the HTTP status that an error object names, if any."""
    if isinstance(error, dict):
        for key in ("status_code", "code", "status", "http_status"):
            value = error.get(key)
            if isinstance(value, str) and value.isdecimal():
                value = int(value)
            if isinstance(value, int) and 300 <= value < 600:
                return value
    return None


def retry_after(headers: Any) -> float | None:
    """Return the seconds that a provider asks to wait: milliseconds, seconds or an HTTP date; None if unsaid."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(TypeError, ValueError):
            seconds = float(headers.get(name)) * unit
            if math.isfinite(seconds):
                return max(seconds, 0.0)
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        moment = parsedate_to_datetime(headers.get("retry-after"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _connection_code(error: BaseException, *, timed_out: str, lost: str) -> tuple[str, bool]:
    """Return the code of an exception that is not an HTTP status.

    The innermost cause decides: the SDKs' transport calls a disconnect a ConnectTimeout.
    """
    root = error
    while isinstance(root.__cause__, Exception):  # A timeout comes from a CancelledError, which says nothing.
        root = root.__cause__
    names = [base.__name__ for base in type(root).__mro__]
    if isinstance(root, UnicodeError | json.JSONDecodeError) or any(map(_UNREADABLE.search, names)):
        return "provider_protocol", False
    if isinstance(root, TimeoutError) or any(map(_TIMEOUTS.search, names)):
        return timed_out, True
    module = type(root).__module__.partition(".")[0]
    if isinstance(root, OSError | EOFError) or module in _CONNECTION_MODULES:
        return lost, True
    return ("provider_error", True) if module in ("openai", "anthropic") else ("internal", False)


def _names(error: BaseException) -> str:
    """Return the classes of an exception and its causes, for the log; never what they say."""
    names = []
    cause: BaseException | None = error
    while cause is not None:
        names.append(type(cause).__name__)
        cause = cause.__cause__
    return " < ".join(names)
