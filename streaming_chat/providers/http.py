"""Reads the bytes of a reply over HTTP as they arrive, to its end or to a failure. Imports no SDK.

An SDK opens the stream (authentication, URL, TLS, proxies). Its own reading costs 45 µs per network read, and its models
75 µs per event. Instead, this module uses aiohttp's own read, our decoder of SSE and one JSON parser.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import partial
from types import TracebackType
from typing import Any, Self

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.sse import Splitter

from .base import ProviderStream
from .errors import error_code, opening_failure, reading_failure, status_in
from .parsing import MAX_REQUEST_ID, clean, parse

# Time to wait for the end of a body after its last event, in seconds: a connection that was read to its end is reused.
DRAIN_SECONDS = 0.05
# The largest body that is read at once because it is not a stream, in bytes.
MAX_WHOLE_BYTES = 8 * 1024 * 1024
MAX_FINISH_REASON = 64

# Every other word (end_turn, stop_sequence, pause_turn, stop, eos, future words) is a stop.
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


class HttpStream(ProviderStream):
    """One reply over HTTP. A subclass opens the stream and interprets its events.

    A failure or the end is remembered until the events before it have been returned. A failure is raised without its cause,
    from a stack frame that holds no text: exceptions of SDKs contain response bodies and keys.
    """

    request_id_header = "x-request-id"

    def __init__(self) -> None:
        self._close: Callable[[], Awaitable[object]] | None = None
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
        """Add what one event of the stream contains; set `_done` if it is the last.

        May raise ProviderError. Any other exception means data of an unexpected shape, which is `provider_protocol`.
        """

    @abstractmethod
    def _take_whole(self, payload: dict[str, Any], events: list[Event]) -> None:
        """Add what a completion in one JSON body contains. Raises as `_take_event`."""

    def _take_end(self, events: list[Event]) -> bool:
        """Add what is complete once the body has ended; return whether the reply is complete."""
        return bool(self.finish_reason)

    async def __aenter__(self) -> Self:
        try:
            context = await self._open()
            self._close = partial(context.__aexit__, None, None, None)
            await self._use(await context.__aenter__())
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
        close, self._close = self._close, None
        if close is None:
            return
        try:
            if self._done:
                await self._drain()
        finally:
            with contextlib.suppress(Exception):
                await close()

    async def read(self) -> list[Event] | None:
        if not self._done and self._failure is None:
            events = await self._next()
            if events or not (self._done or self._failure):
                return events
        if self._failure is not None:
            # A copy: an exception that was raised refers to this stream, by its stack frames.
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
            self._free_response(response)
        else:
            self._receive = _iterated(response.aiter_bytes())

    def _free_response(self, response: Any) -> None:
        """Free the response and its request, which holds the prompt. Closing the transport's stream closes the response."""
        stream = transport_stream(response)
        if stream is not response.stream:
            # The wrapper refers back to the response: a reference cycle, which is collected late.
            response.stream = stream
            self._close = stream.aclose

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
        """Remember a failure. Any exception but ProviderError means data of an unexpected shape."""
        if not isinstance(error, ProviderError):
            error = ProviderError("provider_protocol", request_id=self.request_id, detail=type(error).__name__)
        self._failure = error

    def _take_rest(self, events: list[Event]) -> None:
        """Take an event without the blank line that ends it if it is complete; otherwise the body was truncated."""
        try:
            for name, value in self._splitter.rest():
                if not self._done:
                    self._take_event(name, value, events)
        except ProviderError as error:
            self._failure = error
        except Exception:  # noqa: BLE001, S110 - as in `_take`.
            pass

    def _end_body(self, events: list[Event], failure: ProviderError) -> None:
        """Note that the body has ended. The reply is complete if the provider had said so."""
        if self._done or self._failure is not None:
            return
        if self._take_end(events):
            self._done = True
        else:
            self._failure = failure

    def _gather(self, data: bytes, events: list[Event]) -> None:
        """Collect a body that is not an event stream, and take it at its end."""
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
        """Take an event stream with a wrong content type, which some gateways send. Anything else is unreadable."""
        if not data.lstrip(b"\xef\xbb\xbf\r\n ").startswith((b"data:", b"event:", b":")):
            self._failure = ProviderError("provider_protocol", request_id=self.request_id, detail="no event stream")
            return
        self._take(data, events)
        self._take_rest(events)
        self._end_body(events, self._truncated())

    def _reported(self, error: Any) -> ProviderError:
        """Return the failure that an error object inside the stream means."""
        code, retryable = error_code(status_in(error), error, inside=True)
        return ProviderError(code, retryable=retryable, request_id=self.request_id, detail="error event")

    def _finish(self, word: Any) -> None:
        """Note the provider's word for the end; the last one applies. `error` is not one."""
        if isinstance(word, str) and word and word != "error":
            self.finish_reason = clean(word, MAX_FINISH_REASON)
            self.end_reason = END_REASONS.get(word.lower(), "stop")

    async def _drain(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._receive():
                    pass


def transport_stream(response: Any) -> Any:
    """Return the transport's stream of a response's body, without the client's wrappers."""
    stream = response.stream
    while (inner := getattr(stream, "_stream", None)) is not None:
        stream = inner
    return stream


def raw_reader(response: Any) -> Callable[[], Awaitable[bytes]]:
    """Return a coroutine function that returns the bytes of one network read, b"" at the end.

    It is aiohttp's own `readany`, without the four generators in which httpx2 wraps it. If httpx2 changes, its public
    iterator is used.
    """
    content = getattr(getattr(transport_stream(response), "_aiohttp_response", None), "content", None)
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
