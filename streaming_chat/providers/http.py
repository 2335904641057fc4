"""Reads the bytes of a reply over HTTP as they arrive, to its end or to a failure. Imports no SDK.

aiohttp opens the stream (http_client.py). An SDK's own reading costs 45 µs per network read, and its models 75 µs per event.
Instead, this module uses aiohttp's own read, our decoder of SSE and one JSON parser.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from copy import copy
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.protocol.sse import Splitter

from .base import FINISH_SECONDS, Prompt, ProviderStream
from .error_bodies import beginning
from .error_texts import facts_of, message_of
from .errors import error_code, opening_failure, reading_failure, refusal, status_in
from .finish_reasons import finish_word, is_known, meaning_of
from .parsing import MAX_ID, clean, parse
from .template import Template, template_of
from .thinking import ThinkTags

if TYPE_CHECKING:
    from aiohttp import ClientResponse

# Time to wait for the end of a body after its last event, in seconds: a connection that was read to its end is reused.
DRAIN_SECONDS = 0.05
# The largest body that is read at once because it is not a stream, in bytes.
MAX_WHOLE_BYTES = 8 * 1024 * 1024
# The most that a stream may send in reads without an event: heartbeats, what we ignore, tool calls in pieces. In bytes.
MAX_SILENT_BYTES = 512 * 1024 * 1024
# The most opaque state that is kept of a reply, in characters of JSON. It is of no use in part, so beyond that none is kept.
MAX_STATE_CHARS = 2 * 1024 * 1024
# How many reads may be looked at for a template without one that has it: those of some streams all differ.
MOST_ATTEMPTS = 8

_BOM = b"\xef\xbb\xbf"

_FIELD = re.compile(rb":|(data|event|id|retry)[:\r\n]")
_LONGEST_FIELD = len("event:")


def is_event_stream(head: bytes) -> bool | None:
    """Return whether a body that begins like this is an event stream; None if more of it is needed.

    The first line decides, since servers and gateways send event streams and JSON under each other's content type.
    """
    line = _content(head)
    if _FIELD.match(line):
        return True
    return False if line[:1] in (b"{", b"[", b"<") or len(line) >= _LONGEST_FIELD or b"\n" in line else None


def _content(head: bytes) -> bytes:
    """Return the first bytes of a body without a byte order mark and white space, which some servers send as heartbeats."""
    return head.removeprefix(_BOM).lstrip()


class HttpStream(ProviderStream):
    """One reply over HTTP. A subclass opens the stream and interprets its events.

    Once the provider has named a finish reason, the reply is complete unless an error is reported: what is unreadable
    after it, or missing, costs nothing. A failure or the end is remembered until the events before it have been returned.
    A failure is raised without its cause, from a stack frame that holds no text: exceptions of SDKs contain response
    bodies and keys.
    """

    request_id_header = "x-request-id"
    # What precedes the text of an event.
    text_key = b""

    def __init__(self, prompt: Prompt | None = None) -> None:
        """prompt: its options say which tags are reasoning."""
        self.state: list[dict[str, Any]] = []
        self._state_room = MAX_STATE_CHARS
        self._close: Callable[[], object] | None = None
        self._splitter = Splitter()
        self._receive: Callable[[], Awaitable[bytes]] = _nothing
        self._head = b""
        self._whole = bytearray()
        self._silent_bytes = 0
        self._is_labelled = False
        self._is_stream: bool | None = None
        self._failure: ProviderError | None = None
        self._done = False
        # What a finish reason that means failure will be at the end, and its word.
        self._unsuccessful: ProviderError | None = None
        self._unsuccessful_word = ""
        self._deadline: float | None = None
        self._thinking = ThinkTags(_think_tags(prompt))
        # Of the latest read with nothing but a text, unless an event is incomplete.
        self._template: Template | None = None
        self._attempts = 0

    @abstractmethod
    async def _open(self) -> ClientResponse:
        """Return aiohttp's response once its headers have arrived, whatever its status."""

    @abstractmethod
    def _take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Add what one event of the stream contains; set `_done` if it is the last.

        May raise ProviderError. Any other exception means data of an unexpected shape, which is `provider_protocol`.
        """

    def _only_text(self, payload: Any) -> str:
        """Return the text of an event that changes nothing else in this stream when it comes again, "" for any other.

        May raise anything for data of an unexpected shape.
        """
        return ""

    @abstractmethod
    def _take_whole(self, payload: dict[str, Any], events: list[Event]) -> None:
        """Add what a completion in one JSON body contains. Raises as `_take_event`."""

    async def __aenter__(self) -> Self:
        try:
            await self._use(await self._open())
        except Exception as error:  # noqa: BLE001 - every class an SDK or transport can raise becomes one of our codes.
            self._failure = opening_failure(error)
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
            close()

    async def read(self) -> list[Event] | None:
        events: list[Event] = []
        if not self._done and self._failure is None:
            try:
                # The bytes have no name here, since the frame of a failure must hold no text.
                events = self._events_of(
                    await (self._receive() if self._deadline is None else self._receive_before(self._deadline))
                )
            except Exception as error:  # noqa: BLE001 - as in __aenter__.
                self._end_body(reading_failure(error, self.request_id))
                events = self._separate_thinking([])
            if events or not (self._done or self._failure):
                return events
        if self._failure is not None:
            # A copy: an exception that was raised refers to this stream, by its stack frames.
            raise copy(self._failure)
        return None

    def keep(self, item: dict[str, Any]) -> None:
        """Add an object to the state (see `ProviderStream`), unless that has become too long."""
        self._state_room -= len(json.dumps(item))
        self.state.append(item)
        if self._state_room < 0:
            self.state.clear()

    def events_of(self, completion: Any) -> list[Event]:
        """Return the events of a completion in one JSON body, which came by another way. Raises ProviderError."""
        events: list[Event] = []
        try:
            self._take_whole(completion, events)
        except Exception as error:  # noqa: BLE001 - as in `_take`.
            self._failure = self._failure_of(error)
        else:
            self._complete()
        if self._failure is not None:
            raise copy(self._failure)
        return self._separate_thinking(events)

    async def _use(self, response: ClientResponse) -> None:
        """Prepare to read a response, or note why the provider refused the request."""
        # This closes the connection, unless the body was read to its end.
        self._close = response.close
        if 200 <= response.status < 300:
            self._prepare_to_read(response)
        else:
            body = await beginning(response.content)
            self._failure = refusal(response.status, response.headers, body, self.request_id_header)

    def _prepare_to_read(self, response: ClientResponse) -> None:
        """Prepare to read the body of a response as it arrives."""
        self.request_id = clean(response.headers.get(self.request_id_header), MAX_ID)
        self._is_labelled = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        self._receive = response.content.readany
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            self._receive = _giving_way(response.content.readany)

    def _events_of(self, data: bytes) -> list[Event]:
        """Return the events of one network read, with reasoning between tags as such."""
        if self._template is not None and (text := self._template.text_in(data)):
            self._attempts = 0
            events = [Event(TEXT, text)]
        else:
            events = self._parsed(data)
        return events if self._thinking.is_over else self._separate_thinking(events)

    def _separate_thinking(self, events: list[Event]) -> list[Event]:
        if not self._thinking.is_over:
            events = self._thinking.take(events)
            if self._done or self._failure is not None:
                events += self._thinking.flush(is_complete=self._done and self.end_reason == "stop")
        return events

    def _parsed(self, data: bytes) -> list[Event]:
        """Return the events of one network read as they were sent."""
        events: list[Event] = []
        if self._is_stream is None:
            self._begin(data, events)
        elif self._is_stream:
            self._take_read(data, events)
        else:
            self._gather(data, events)
        if not events:
            self._note_silence(len(data))
        if (self.finish_reason or self._unsuccessful) and (events or self._deadline is None):
            self._deadline = asyncio.get_running_loop().time() + FINISH_SECONDS
        return events

    def _note_silence(self, size: int) -> None:
        """End a stream that sends many bytes without an event."""
        self._silent_bytes += size
        if self._silent_bytes > MAX_SILENT_BYTES:
            self._end_body(self._unreadable("nothing but filling"))

    async def _receive_before(self, deadline: float) -> bytes:
        """Return the bytes of one network read. Raises TimeoutError at the deadline, by the loop's clock."""
        if asyncio.get_running_loop().time() >= deadline:
            raise TimeoutError  # Bytes that are already here would come without waiting, and so without a timeout.
        async with asyncio.timeout_at(deadline):
            return await self._receive()

    def _begin(self, data: bytes, events: list[Event]) -> None:
        """Hold the first bytes until they tell whether this is an event stream."""
        # White space is not kept: a server may send any amount of it.
        self._head = _content(self._head + data)
        is_stream = is_event_stream(self._head)
        is_decided = is_stream is not None or (self._is_labelled and self._head)
        if data and not is_decided:
            return
        head, self._head = self._head, b""
        is_json = head[:1] in (b"{", b"[")
        self._is_stream = is_stream or not head or (self._is_labelled and not is_json)
        for read in [head] if data else [head, b""]:
            (self._take_read if self._is_stream else self._gather)(read, events)

    def _take_read(self, data: bytes, events: list[Event]) -> None:
        """Add the events of one network read of an event stream; no bytes are its end."""
        if data:
            is_first = self._splitter.is_between_events
            self._take(data, events)
            self._note_template(data, events, is_first=is_first)
        else:
            self._take_rest(events)
            self._end_body(self._truncated())

    def _note_template(self, data: bytes, events: list[Event], *, is_first: bool) -> None:
        """Note what surrounds the text of a read. is_first: an event began with it."""
        is_over = self._done or self._failure or self.finish_reason or self._unsuccessful
        if is_over or not self._splitter.is_between_events:
            self._template = None
        elif is_first and len(events) == 1 and events[0].kind == TEXT and self._attempts < MOST_ATTEMPTS:
            self._attempts += 1
            self._template = self._template_of(data) or self._template

    def _template_of(self, read: bytes) -> Template | None:
        """Return the template of a read that gave one text; None if another text may not be all that it would give."""
        # Data of any shape may come.
        with contextlib.suppress(Exception):
            [(_name, data)] = Splitter().feed(read)
            return template_of(read, self.text_key, self._only_text(parse(data)))
        return None

    def _take(self, data: bytes, events: list[Event]) -> None:
        """Add the events of some bytes."""
        try:
            found = self._splitter.feed(data)
        except ValueError as error:
            self._end_body(self._failure_of(error))
            return
        try:
            for name, value in found:
                self._take_one(name, value, events)
                if self._done:
                    return
        except Exception as error:  # noqa: BLE001 - data of any shape may come.
            self._failure = self._failure_of(error)

    def _take_one(self, name: str, data: bytes, events: list[Event]) -> None:
        """Add what one event contains. Raises only ProviderError once an earlier one has named a finish reason."""
        was_finished = self.finish_reason
        try:
            self._take_event(name, data, events)
        except ProviderError:
            raise
        except Exception:
            if not was_finished:
                raise

    def _failure_of(self, error: Exception) -> ProviderError:
        """Return the failure. Any exception but ProviderError means data of an unexpected shape."""
        if isinstance(error, ProviderError):
            return error
        return self._unreadable(type(error).__name__)

    def _unreadable(self, detail: str) -> ProviderError:
        return ProviderError("provider_protocol", request_id=self.request_id, detail=detail)

    def _take_rest(self, events: list[Event]) -> None:
        """Take an event without the blank line that ends it if it is complete; otherwise the body was truncated."""
        try:
            for name, value in self._splitter.rest():
                if not self._done:
                    self._take_one(name, value, events)
        except ProviderError as error:
            self._failure = error
        except Exception:  # noqa: BLE001, S110 - as in `_take`.
            pass

    def _end_body(self, failure: ProviderError) -> None:
        """Note that there is no more to read. That is a failure unless the provider has named a finish reason."""
        if self._done or self._failure is not None:
            return
        if self.finish_reason or self._unsuccessful:
            self._complete()
        else:
            self._failure = failure

    def _complete(self) -> None:
        """Note that the reply is complete, or failed with a finish reason."""
        if self._unsuccessful is None:
            self._done = True
        else:
            self._failure = self._unsuccessful
            self.finish_reason = self._unsuccessful_word

    def _gather(self, data: bytes, events: list[Event]) -> None:
        """Collect a body that is not an event stream, and take it at its end."""
        self._whole += data
        if len(self._whole) > MAX_WHOLE_BYTES:
            self._whole.clear()
            self._end_body(self._unreadable("body too large"))
            return
        if data:
            return
        whole = bytes(self._whole)
        self._whole.clear()
        try:
            self._take_whole(parse(whole), events)
        except Exception as error:  # noqa: BLE001 - as in `_take`.
            self._failure = self._failure_of(error)
        else:
            self._complete()

    def _truncated(self) -> ProviderError:
        return ProviderError("provider_truncated", retryable=True, request_id=self.request_id)

    def _reported(self, error: Any) -> ProviderError:
        """Return the failure that an error object inside the stream means."""
        code, retryable = error_code(status_in(error), error, inside=True)
        return ProviderError(
            code,
            retryable=retryable,
            request_id=self.request_id,
            detail=", ".join(filter(None, ("error event", facts_of(error)))),
            message="" if code == "provider_auth" else message_of(error),
        )

    def _finish(self, value: Any, native: Any = None) -> None:
        """Note the provider's word for the end; the last one applies, and none that means failure replaces a good one.

        native: the word that a gateway received, which tells more than a `stop` or an `error` that it made of it.
        """
        word = finish_word(value)
        if not word:
            return
        meaning, native = meaning_of(word), finish_word(native)
        if meaning.end_reason in ("", "stop") and is_known(native) and meaning_of(native).end_reason != "stop":
            word, meaning = native, meaning_of(native)
        if meaning.end_reason:
            self.finish_reason, self.end_reason = word, meaning.end_reason
            self._unsuccessful = None
        elif not self.finish_reason:
            self._unsuccessful = ProviderError(
                meaning.error_code, retryable=meaning.retryable, request_id=self.request_id, detail=f"finish {word!r}"
            )
            self._unsuccessful_word = "" if word == "error" else word  # `error` says nothing more.

    async def _drain(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._receive():
                    pass


def _think_tags(prompt: Prompt | None) -> bool | str:
    """Return which tags are reasoning (see `ModelOptions`). A model that continues its own text does not think again."""
    if prompt is None:
        return True
    continues = bool(prompt.turns) and prompt.turns[-1].role == "assistant"
    return bool(prompt.options.think_tags) if continues else prompt.options.think_tags


def _giving_way(read: Callable[[], Awaitable[bytes]]) -> Callable[[], Awaitable[bytes]]:
    """Return the same read, before which other tasks have their turn."""

    async def receive() -> bytes:
        # A few bytes may be decompressed to many reads, between which nothing would wait.
        await asyncio.sleep(0)
        return await read()

    return receive


async def _nothing() -> bytes:
    return b""
