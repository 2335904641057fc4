"""Our providers pass the tests that a site has for its own one."""

import asyncio
import json
import re
import unittest
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import pytest
from django.test import SimpleTestCase

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.base import Provider, ProviderStream
from streaming_chat.providers.demo import DemoProvider
from streaming_chat.providers.openai import OpenAIProvider
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider
from streaming_chat.testing import Exchange, ProviderConformance
from tests.test_write_your_own import PROVIDER

pytestmark = [pytest.mark.once, pytest.mark.slow]


def sse(payload: dict[str, Any]) -> bytes:
    return f"event: {payload.get('type', 'message')}\ndata: {json.dumps(payload)}\n\n".encode()


class OpenAITests(ProviderConformance, SimpleTestCase):
    ending = sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"

    def make_provider(self, url):
        return OpenAIProvider("openai", api_key="k", base_url=f"{url}/v1")

    def frame(self, text):
        return sse({"choices": [{"delta": {"content": text}}]})


class OpenAIResponsesTests(ProviderConformance, SimpleTestCase):
    opening = sse({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}})
    ending = sse({"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}})

    def make_provider(self, url):
        return OpenAIResponsesProvider("openai", api_key="k", base_url=f"{url}/v1")

    def frame(self, text):
        return sse({"type": "response.output_text.delta", "output_index": 0, "delta": text})


class AnthropicTests(ProviderConformance, SimpleTestCase):
    opening = sse({"type": "message_start", "message": {"id": "msg_1"}})
    ending = sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}) + sse({"type": "message_stop"})

    def make_provider(self, url):
        return AnthropicProvider("anthropic", api_key="k", base_url=url)

    def frame(self, text):
        return sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


class DemoTests(ProviderConformance, SimpleTestCase):
    """It has no API: a script is what an API would send."""

    test_the_api_is_told_the_most_tokens = None

    @asynccontextmanager
    async def exchange(
        self, texts: Iterable[str], *, is_complete: bool = True, is_held: bool = False, status: int = 200
    ) -> AsyncIterator[Exchange]:
        script = [{"text": text} for text in islice(texts, 100)]
        script += [] if is_complete and script and status == 200 else [{"error": "provider_truncated"}]
        found = Exchange(provider=DemoProvider("demo", words_per_second=0, script=script))
        found.is_left.set()
        yield found


class ExampleTests(ProviderConformance, SimpleTestCase):
    """Of docs/providers.md."""

    ending = b"[DONE]\n"

    def make_provider(self, url):
        return PROVIDER.LineProvider("line", url=f"{url}/")

    def frame(self, text):
        return json.dumps(text).encode() + b"\n"


class Careless(Provider):
    """A provider that does everything wrong, each on its own."""

    def __init__(self, alias: str, *, url: str, fault: str = "") -> None:
        super().__init__(alias)
        self.port = int(re.search(r":(\d+)$", url)[1])
        self.fault = fault

    def stream(self, prompt):
        return CarelessStream(self, prompt)


class CarelessStream(ProviderStream):
    def __init__(self, provider, prompt):
        self.provider, self.prompt, self.fault = provider, prompt, provider.fault
        self.lines = []

    def __repr__(self):
        return (
            f"CarelessStream({[turn.text for turn in self.prompt.turns]})"
            if self.fault == "repr"
            else "CarelessStream()"
        )

    async def __aenter__(self):
        try:
            reader, self.writer = await asyncio.open_connection("127.0.0.1", self.provider.port)
        except OSError:
            raise (OSError if self.fault == "errors" else ProviderError("provider_unavailable")) from None
        self.provider.kept = self.writer
        limit = 0 if self.fault == "limit" else self.prompt.options.max_output_tokens
        self.writer.write(f"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n{limit:04}".encode())
        if b" 200 " not in await reader.readuntil(b"\r\n\r\n"):
            self.writer.close()
            raise ProviderError("nonsense" if self.fault == "codes" else "provider_error")
        self.reader = self.provider.__dict__.setdefault("reader", reader) if self.fault == "shared" else reader
        return self

    async def __aexit__(self, *exc_info):
        if self.fault != "open":
            self.writer.close()

    async def read(self):
        if self.fault == "late" and not self.lines:
            self.lines = [line + b"\n" for line in (await self.reader.read()).splitlines()]
        line = self.lines.pop(0) if self.lines else await self.reader.readline()
        if line == b"[DONE]\n" or (not line and self.fault == "cut"):
            self.finish_reason = "" if self.fault == "finish" else "stop"
            return None
        if not line:
            raise ProviderError("provider_truncated")
        return [Event(TEXT, json.loads(line))]


class ConformanceTests(SimpleTestCase):
    """Each test of the class fails for a provider that is wrong in what it is about, and for no other."""

    def failures(self, fault: str, patience: float = ProviderConformance.patience_seconds) -> set[str]:
        """Return the names of the tests that fail for a provider with this fault."""

        class Checked(ExampleTests):
            patience_seconds = patience

            def make_provider(self, url):
                return Careless("careless", url=url, fault=fault)

        failed = set()
        for name in dir(Checked):
            if name.startswith("test_"):
                Checked(name)(result := unittest.TestResult())
                if not result.wasSuccessful():
                    failed.add(name.removeprefix("test_"))
        return failed

    def test_a_provider_without_a_fault(self):
        assert self.failures("") == set()

    def test_a_fault_is_found_by_the_test_of_it(self):
        for fault, test in (
            ("cut", "a_reply_that_is_cut_off_is_truncated"),
            ("finish", "it_ends_with_a_finish_reason"),
            ("limit", "the_api_is_told_the_most_tokens"),
            ("repr", "nothing_shows_what_people_wrote"),
            ("codes", "an_api_that_refuses"),
            ("errors", "an_api_that_is_not_there"),
            ("shared", "two_replies_at_once_are_apart"),
        ):
            with self.subTest(fault):
                assert self.failures(fault) == {test}

    def test_a_fault_is_found_by_what_never_happens(self):
        left = {"the_connection_is_closed_when_a_read_is_cancelled", "the_connection_is_closed_when_a_reply_is_left"}
        for fault, tests in (("open", left), ("late", {*left, "each_piece_of_text_arrives_at_once"})):
            with self.subTest(fault):
                # On a busy machine, others may also take longer than that.
                assert self.failures(fault, patience=0.5) >= tests
