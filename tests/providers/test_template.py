"""A read that is recognised gives exactly what parsing it would give, whatever a server sends and wherever it is cut."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import Event
from streaming_chat.providers.anthropic import AnthropicProvider, AnthropicStream
from streaming_chat.providers.http import MOST_ATTEMPTS
from streaming_chat.providers.openai import OpenAIProvider, OpenAIStream
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider, OpenAIResponsesStream
from streaming_chat.providers.template import Template
from tests.received import PROMPT
from tests.test_recorded_streams import RECORDINGS

pytestmark = pytest.mark.once

PROVIDERS = {
    "openai": OpenAIProvider("openai", api_key="k"),
    "responses": OpenAIResponsesProvider("responses", api_key="k"),
    "anthropic": AnthropicProvider("anthropic", api_key="k"),
}


class Counting:
    """Counts the reads that are parsed."""

    parsed = 0

    def _parsed(self, data: bytes) -> list[Event]:
        self.parsed += 1
        return super()._parsed(data)


class Parsing(Counting):
    """Parses each read."""

    def _template_of(self, read: bytes) -> Template | None:
        return None


class OpenAI(Counting, OpenAIStream):
    pass


class ParsingOpenAI(Parsing, OpenAIStream):
    pass


class Responses(Counting, OpenAIResponsesStream):
    pass


class ParsingResponses(Parsing, OpenAIResponsesStream):
    pass


class Anthropic(Counting, AnthropicStream):
    pass


class ParsingAnthropic(Parsing, AnthropicStream):
    pass


KINDS = {
    "openai": (OpenAI, ParsingOpenAI),
    "responses": (Responses, ParsingResponses),
    "anthropic": (Anthropic, ParsingAnthropic),
}


async def outcome(stream: Any, reads: list[bytes]) -> Any:
    """Return all that becomes of a stream that arrives in these reads."""
    left = [read for read in reads if read]

    async def receive() -> bytes:
        return left.pop(0) if left else b""

    stream._receive = receive
    received: list[Any] = []
    try:
        while (events := await stream.read()) is not None:
            received.append(events)
    except ProviderError as error:
        received.append((error.code, error.request_id, error.detail))
    return received, stream.request_id, stream.usage, stream.finish_reason, stream.end_reason, stream.leftovers()


async def compared(wire: str, reads: list[bytes]) -> int:
    """Check that both ways give the same, and return how many reads were recognised."""
    kind, parsing = KINDS[wire]
    recognising, parsed = kind(PROVIDERS[wire], PROMPT), parsing(PROVIDERS[wire], PROMPT)

    assert await outcome(recognising, reads) == await outcome(parsed, reads), reads

    return parsed.parsed - recognising.parsed


def event(payload: Any, **separators: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(payload, ensure_ascii=False, **separators).encode()


def chunk(text: str | None = "a", *, delta: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text, **(delta or {})}, "finish_reason": None}
    return {"id": "c", "choices": [choice], **more}


def delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def numbered(text: str, number: int, **more: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "sequence_number": number, "output_index": 0, "delta": text, **more}


START = event(chunk("", delta={"role": "assistant"}))
END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"
COMPACT = {"separators": (",", ":")}
# What may come where another text is expected.
ODD_TEXTS = (
    b"b", b"", b"\xc3\xb6", "日本 😀".encode(), b"\xff", b"\xed\xa0\x80", b"\\n", b"\\", b"\\ud83d", b"\x00", b"\x01", b"\t",
    b"\x7f", "\u2028".encode(), "\u00a0".encode(), b'"', b'","x":"y', b'"},"delta":{"content":"z', b"\n", b"\r", b"\r\n",
    b"\n\n", b"<think>", b"[DONE]", b'"}}]}\n\ndata: {"choices":[{"delta":{"content":"b',
)  # fmt: skip
# Chunks with a text, the next of which may not be taken for granted.
ODD_CHUNKS = (
    chunk(usage={"prompt_tokens": 1, "completion_tokens": 1}),
    chunk(error={"message": "no"}),
    chunk(x_groq={"usage": {"prompt_tokens": 2}}),
    chunk(delta={"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}]}),
    chunk(delta={"reasoning": "b"}),
    chunk(delta={"refusal": "b"}),
    chunk(note='"content":"a"'),
    chunk(note={"content": "a"}),
    chunk(note="content"),
    {"delta": {"content": "a"}, "choices": [{"message": {"content": "a"}}]},
    {"choices": [{"message": {"text": "a"}}]},
    {"choices": [{"delta": {"content": [{"type": "text", "text": "a"}]}}]},
    {"choices": [{"delta": {"refusal": "a"}}], "content": "a"},
    {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"refusal": "a"}}]},
    {"choices": [{"delta": {"content": "a"}, "usage": {"prompt_tokens": 3}}]},
    {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]},
    [chunk()],
)


class EqualTests(SimpleTestCase):
    async def test_recorded_streams(self):
        for recording in RECORDINGS:
            events = [part + b"\n\n" for part in recording.raw.split(b"\n\n")]
            with self.subTest(recording.name):
                await compared(recording.wire, events)
                await compared(
                    recording.wire, [b"".join(pair) for pair in zip(events[::2], [*events[1::2], b""], strict=False)]
                )

    async def test_any_bytes_in_place_of_the_text(self):
        for wire, payload in (
            ("openai", chunk("a")),
            ("openai", chunk("a", obfuscation="x7G")),
            ("anthropic", delta("a")),
            ("responses", numbered("a", 7)),
        ):
            for text, form in itertools.product(ODD_TEXTS, (COMPACT, {})):
                usual = event(payload, **form)
                odd = usual.replace(b'"a"', b'"%b"' % text)
                with self.subTest(wire, text=text):
                    await compared(wire, [usual, usual, odd, usual, odd, odd, usual])

    async def test_any_chunk_after_any_other(self):
        usual = event(chunk("a"), **COMPACT)
        for odd in ODD_CHUNKS:
            for form in (COMPACT, {}):
                first = event(odd, **form)
                second = first.replace(b'"a"', b'"b"')
                with self.subTest(first):
                    await compared("openai", [usual, usual, first, second, usual, first, second, END])

    async def test_a_read_cut_anywhere(self):
        raw = START + b"".join(event(chunk(text), **COMPACT) for text in ("a", "b", "ü", '"', "c")) + END
        for first, second in itertools.combinations(range(0, len(raw), 7), 2):
            await compared("openai", [raw[:first], raw[first:second], raw[second:]])

    async def test_each_byte_of_a_read_changed(self):
        usual = event(chunk("abc", obfuscation="xyz"), **COMPACT)
        for place, byte in itertools.product(range(len(usual)), b'"\\,:}{\n\r Z\xff\x00'):
            changed = usual[:place] + bytes([byte]) + usual[place + 1 :]
            await compared("openai", [usual, usual, changed, usual])

    async def test_any_bytes_in_place_of_the_number(self):
        usual = event(numbered("a", 12), **COMPACT)
        for odd in (
            b"13",
            b"120",
            b"0",
            b"012",
            b"-1",
            b"1.5",
            b"1e3",
            b"",
            b" 13",
            b'"13"',
            b"null",
            b"1" * 20,
            b"1,2",
        ):
            with self.subTest(odd):
                changed = usual.replace(b"12", odd)
                await compared("responses", [usual, usual, changed, usual, changed, changed, usual])

    async def test_each_byte_of_a_numbered_read_changed(self):
        usual = event(numbered("abc", 45, obfuscation="xyz"), **COMPACT)
        for place, byte in itertools.product(range(len(usual)), b'"\\,:}{\n\r Z0\xff\x00'):
            changed = usual[:place] + bytes([byte]) + usual[place + 1 :]
            await compared("responses", [usual, usual, changed, usual])

    async def test_a_byte_order_mark_counts_at_the_beginning_only(self):
        usual = event(chunk("a"), **COMPACT)

        await compared("openai", [b"\xef\xbb\xbf" + usual, b"\xef\xbb\xbf" + usual, usual, usual])

    @given(st.lists(st.text(max_size=5), max_size=6), st.booleans())
    def test_any_text(self, texts: list[str], is_padded: bool):
        padding = {"obfuscation": "x"} if is_padded else {}
        reads = [event(chunk(text, **padding), **COMPACT) for text in ["a", "b", *texts]]

        async_to_sync(compared)("openai", [*reads, END])


class RecognisedTests(SimpleTestCase):
    """What makes it fast: after two reads, the next is not parsed."""

    async def recognised(self, wire: str, reads: list[bytes]) -> int:
        starts = {"openai": [START], "responses": [event({"type": "response.created", "response": {}})]}
        return await compared(wire, [*starts.get(wire, []), *reads])

    async def test_the_same_around_another_text(self):
        for wire, make in (("openai", chunk), ("anthropic", delta)):
            for form in (COMPACT, {}):
                with self.subTest(wire, form=form):
                    reads = [event(make(text), **form) for text in ("a", " b", "c, d", "日本", "ü😀")]

                    assert await self.recognised(wire, reads) >= 3

    async def test_the_number_of_the_event(self):
        for form in (COMPACT, {}):
            with self.subTest(form=form):
                reads = [event(numbered(text, 8 + place), **form) for place, text in enumerate("abcdef")]

                assert await self.recognised("responses", reads) == 5

    async def test_the_next_message_is_not_like_the_last(self):
        """Even if its events are: a blank line comes before it."""
        message = event({"type": "response.output_item.added", "item": {"type": "message"}})
        a, b, c, d = (event(numbered(text, 8)) for text in "abcd")

        assert await self.recognised("responses", [a, b, message, c, d]) == 2

    async def test_padding_of_random_length(self):
        reads = [event(chunk(text, obfuscation="xY3" * len(text)), **COMPACT) for text in ("a", "bb", "ccc", "dddd")]

        assert await self.recognised("openai", reads) == 3

    async def test_padding_in_the_middle(self):
        chunks = [{**chunk(text), "obfuscation": "x" * len(text), "usage": None} for text in ("a", "bb", "ccc")]
        reads = [event(payload, **COMPACT) for payload in chunks]

        assert await self.recognised("openai", reads) == 2

    async def test_after_text_that_must_be_parsed(self):
        reads = [event(chunk(text), **COMPACT) for text in ("a", '"', "b", "\n", "c")]

        assert await self.recognised("openai", reads) == 2

    async def test_a_stream_that_never_repeats_itself_is_no_longer_looked_at(self):
        stream = OpenAI(PROVIDERS["openai"], PROMPT)
        reads = [event(chunk("a", created=number)) for number in range(3 * MOST_ATTEMPTS)]
        await outcome(stream, [START, *reads])

        assert stream._attempts == MOST_ATTEMPTS
