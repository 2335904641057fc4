"""What every provider must do, as tests of a site's own one. docs/providers.md shows an example.

A real server on loopback answers in the format of the provider's API. It waits before it goes on, or stops in the middle,
so that the tests see what a provider does with each piece, without a sleep.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TYPE_CHECKING

from django.test import SimpleTestCase, override_settings

from streaming_chat.engine.run import Order, Run
from streaming_chat.exceptions import ERRORS, ProviderError
from streaming_chat.protocol.events import Event, text_of
from streaming_chat.providers.base import Prompt, Provider, ProviderStream, RunContext, Turn
from streaming_chat.providers.model_options import ModelOptions

if TYPE_CHECKING:
    _Base = SimpleTestCase
else:
    _Base = object

_SECRET = "what-nobody-may-read"  # noqa: S105  (the text of a message)
_MOST_TOKENS = 4_321
_LONGEST_CHARS = 1_000
_END_REASONS = ("stop", "length", "content_filter", "tool_calls")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

PROMPT = Prompt(
    model="model",
    system=f"Be brief. {_SECRET}",
    turns=(Turn("user", "Hello?"), Turn("assistant", "Hello."), Turn("user", _SECRET)),
    options=ModelOptions(max_output_tokens=_MOST_TOKENS),
    context=RunContext(owner_hash="0a1b2c", conversation_id=uuid.UUID(int=1), message_id=uuid.UUID(int=2)),
)


@dataclass(kw_only=True)
class Exchange:
    """A provider, and what its API sees of it.

    requests: the bytes of each request, headers and body. go_on: set it to let a held reply continue. is_left: set when the
    provider has closed a connection before the reply was complete.
    """

    provider: Provider
    requests: list[bytes] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    is_left: asyncio.Event = field(default_factory=asyncio.Event)


class ProviderConformance(_Base):
    """Tests of a provider whose API is HTTP: a mixin for `SimpleTestCase`, for which a subclass says how its API replies.

    For another transport, override `exchange`.
    """

    # Seconds after which a wait fails its test.
    patience_seconds = 10.0
    content_type = "text/event-stream"
    # What the API writes before the first text and after the last: bytes.
    opening = b""
    ending = b""

    def make_provider(self, url: str) -> Provider:
        """Return the provider, for an API at this address."""
        raise NotImplementedError

    def frame(self, text: str) -> bytes:
        """Return what the API writes for a piece of text."""
        raise NotImplementedError

    @asynccontextmanager
    async def exchange(
        self, texts: Iterable[str], *, is_complete: bool = True, is_held: bool = False, status: int = 200
    ) -> AsyncIterator[Exchange]:
        """Give the provider, whose API replies to each request with these pieces of text.

        is_complete: False to close the connection without an ending. is_held: wait for `go_on` after the first piece.
        """
        connections: set[asyncio.Task[None]] = set()

        async def write(writer: asyncio.StreamWriter) -> None:
            writer.write(_head(status, self.content_type) + self.opening)
            for number, text in enumerate(texts):
                if is_held and number == 1:
                    await found.go_on.wait()
                writer.write(self.frame(text))
                await writer.drain()
                # A small buffer of the network never blocks: let the provider read.
                await asyncio.sleep(0)
            writer.write(self.ending if is_complete else b"")

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.requests.append(await _read_request(reader))
            writing, leaving = asyncio.create_task(write(writer)), asyncio.create_task(reader.read())
            try:
                await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not writing.done() or writing.exception() is not None:
                    found.is_left.set()
            finally:
                writing.cancel()
                leaving.cancel()
                writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.create_task(answer(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = Exchange(provider=self.make_provider(f"http://127.0.0.1:{port}"))
        try:
            yield found
        finally:
            server.close()
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    def _limit(self) -> asyncio.Timeout:
        return asyncio.timeout(self.patience_seconds)

    async def test_each_piece_of_text_arrives_at_once(self) -> None:
        """The API goes on only after the first has arrived."""
        texts = ["Hel", "lö, ", "world"]
        async with self.exchange(texts, is_held=True) as found, self._limit(), found.provider.stream(PROMPT) as stream:
            events = await _read_until_text(stream, "Hel")
            found.go_on.set()
            events += await _read_to_end(stream)

        self.assertEqual(text_of(events), "Hellö, world")

    async def test_it_ends_with_a_finish_reason(self) -> None:
        async with self.exchange(["Hello"]) as found, self._limit(), found.provider.stream(PROMPT) as stream:
            await _read_to_end(stream)

            self.assertTrue(stream.finish_reason, "finish_reason is the API's own word for the end.")
            self.assertIn(stream.end_reason, _END_REASONS)

    async def test_a_reply_that_is_cut_off_is_truncated(self) -> None:
        """What came before is kept; it is no complete reply."""
        async with (
            self.exchange(["Hello"], is_complete=False) as found,
            self._limit(),
            found.provider.stream(PROMPT) as stream,
        ):
            events = await _read_until_text(stream, "Hello")
            with self.assertRaises(ProviderError) as raised:
                await _read_to_end(stream)

        self.assertEqual(text_of(events), "Hello")
        self.assertEqual(raised.exception.code, "provider_truncated")

    async def test_an_api_that_refuses(self) -> None:
        """The error has one of our codes, and says nothing of the prompt."""
        for status in (401, 500):
            async with self.exchange([], status=status) as found, self._limit():
                with self.subTest(status), self.assertRaises(ProviderError) as raised:
                    async with found.provider.stream(PROMPT) as stream:
                        await _read_to_end(stream)

                self.assertIn(raised.exception.code, ERRORS)
                self.assertNotIn(_SECRET, f"{raised.exception!r} {raised.exception.detail}")

    async def test_an_api_that_is_not_there(self) -> None:
        async with self.exchange([]) as found:
            pass
        with self.assertRaises(ProviderError) as raised:
            async with self._limit(), found.provider.stream(PROMPT) as stream:
                await _read_to_end(stream)

        self.assertIn(raised.exception.code, ERRORS)

    async def test_the_connection_is_closed_when_a_reply_is_left(self) -> None:
        async with self.exchange(["Hello", "!"], is_held=True) as found, self._limit():
            async with found.provider.stream(PROMPT) as stream:
                await _read_until_text(stream, "Hello")
            await found.is_left.wait()

    async def test_the_connection_is_closed_when_a_read_is_cancelled(self) -> None:
        """As when somebody stops the reply."""

        async def receive() -> None:
            async with found.provider.stream(PROMPT) as stream:
                await _read_until_text(stream, "Hello")
                has_begun.set()
                await _read_to_end(stream)

        has_begun = asyncio.Event()
        async with self.exchange(["Hello", "!"], is_held=True) as found, self._limit():
            task = asyncio.ensure_future(receive())
            await has_begun.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await found.is_left.wait()

    async def test_a_reply_ends_at_the_greatest_length(self) -> None:
        """Although the API would go on for ever."""
        has_ended = asyncio.Event()
        with override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=_LONGEST_CHARS):
            async with self.exchange(chain(["Hello"], repeat("!" * 100, 100_000))) as found, self._limit():
                order = Order(uuid.uuid4(), uuid.uuid4(), found.provider, PROMPT, {}, None)
                run = Run(order, asyncio.get_running_loop(), has_ended.set)
                run.start(lambda run: None)
                await has_ended.wait()
                await found.is_left.wait()

        self.assertEqual(run.outcome and run.outcome.end_reason, "length_cap")
        self.assertLessEqual(len(text_of(run.events)), _LONGEST_CHARS)

    async def test_the_api_is_told_the_most_tokens(self) -> None:
        """The quota reserves so many."""
        async with self.exchange(["Hello"]) as found, self._limit(), found.provider.stream(PROMPT) as stream:
            await _read_to_end(stream)

        self.assertIn(str(_MOST_TOKENS).encode(), b"".join(found.requests))

    async def test_two_replies_at_once_are_apart(self) -> None:
        async with self.exchange(["Hel", "lo"]) as found, self._limit():

            async def receive() -> str:
                async with found.provider.stream(PROMPT) as stream:
                    return text_of(await _read_to_end(stream))

            texts = await asyncio.gather(receive(), receive())

        self.assertEqual(texts, ["Hello", "Hello"])

    async def test_nothing_shows_what_people_wrote(self) -> None:
        """Error pages and trackers show the repr of the variables of each frame."""
        async with self.exchange([_SECRET]) as found, self._limit(), found.provider.stream(PROMPT) as stream:
            await _read_to_end(stream)

            for each in (found.provider, stream):
                self.assertNotIn(_SECRET, repr(each))


async def _read_until_text(stream: ProviderStream, text: str) -> list[Event]:
    events: list[Event] = []
    while text_of(events) != text:
        received = await stream.read()
        if received is None:
            raise AssertionError(f"the stream ended after {text_of(events)!r}; {text!r} was wanted.")
        events += received
    return events


async def _read_to_end(stream: ProviderStream) -> list[Event]:
    events: list[Event] = []
    while (received := await stream.read()) is not None:
        events += received
    return events


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    found = _CONTENT_LENGTH.search(head)
    return head + await reader.readexactly(int(found[1]) if found else 0)


def _head(status: int, content_type: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode()
