"""What the body of a provider's error may cost: bytes read, memory, time to search, and a reply that waits for its end."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
import tracemalloc
import zlib
from unittest import mock

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers import error_bodies, errors
from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.errors import error_code, retry_after, status_in
from streaming_chat.providers.openai import OpenAIProvider
from tests.engine.odd import ended, made
from tests.provider_server import ProviderServer, Script
from tests.received import Received, receive

from .growth import LINEAR, ratio

MEGABYTE = 1024 * 1024
# What sockets, the HTTP client and the server's side of the test hold at once, beside what is read.
BUFFERS = 8 * MEGABYTE
TOO_LONG = json.dumps({"error": {"message": "prompt is too long", "type": "x"}}).encode()


class ServedTests(SimpleTestCase):
    def setUp(self):
        self.server = self.enterContext(ProviderServer())
        self.providers = (
            OpenAIProvider("openai", api_key="k", base_url=self.server.openai_url),
            AnthropicProvider("anthropic", api_key="k", base_url=self.server.anthropic_url),
        )
        for provider in self.providers:
            provider.prepare()

    async def failures(self, script: Script) -> list[Received]:
        """Return what became of this answer, over both wire formats."""
        self.server.default = script
        return [await receive(provider) for provider in self.providers]


@pytest.mark.once
@pytest.mark.slow
class BodyTests(ServedTests):
    async def test_the_beginning_of_an_endless_body_is_read(self):
        for framing, status in itertools.product(("chunked", "length"), (400, 500)):
            with self.subTest(f"{framing} {status}"):
                tracemalloc.start()
                received = await self.failures(
                    Script(status=status, fault="endless", framing=framing, body=b"a word " * 10_000)
                )
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                calls = self.server.calls[-2:]
                await self.server.until(lambda calls=calls: all(call.ended for call in calls))

                assert [each.error.status for each in received] == [status] * 2
                assert all(call.closed_early for call in calls)
                assert all(call.sent < BUFFERS for call in calls)
                assert peak < BUFFERS

    async def test_one_that_is_short_is_searched(self):
        for body in (TOO_LONG, TOO_LONG + b" " * 60_000):
            received = await self.failures(Script(status=400, body=body))

            assert [each.code for each in received] == ["context_too_long"] * 2

    async def test_a_compressed_one_is_read_to_the_same_size(self):
        """A gzip bomb: 100 MB in 100 KB. We ask for no compression, but a server may use it all the same."""
        bomb = gzip.compress(b"\0" * (100 * MEGABYTE))
        for encoding, body, code in (
            ("gzip", gzip.compress(TOO_LONG), "context_too_long"),
            ("deflate", zlib.compress(TOO_LONG), "context_too_long"),
            ("gzip", bomb, "provider_rejected"),
            ("gzip", b"no gzip", "provider_rejected"),
            ("gzip, gzip", bomb, "provider_rejected"),
            ("rot13", TOO_LONG, "context_too_long"),
        ):
            with self.subTest(encoding):
                tracemalloc.start()
                received = await self.failures(Script(status=400, body=body, headers={"content-encoding": encoding}))
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()

                assert [each.code for each in received] == [code] * 2
                assert peak < BUFFERS

    async def test_any_json_is_an_error_like_another(self):
        deep = b"[" * 100_000
        bodies = (
            deep,
            deep[:900] + b"]" * 900,
            b'{"error":' * 90 + b"{}" + b"}" * 90,
            b'{"error":' + deep,
            b"\xff\xfe",
        )
        for body in bodies:
            with self.subTest(body[:20]):
                received = await self.failures(Script(status=500, body=body))

                assert [each.code for each in received] == ["provider_unavailable"] * 2

    async def test_one_that_trickles_is_not_awaited(self):
        """Its status is known; the timeout of the reply would say less, and later."""
        for fault, framing in itertools.product(("trickle", "stall"), ("chunked", "length")):
            with self.subTest(f"{fault} {framing}"), mock.patch.object(error_bodies, "MAX_SECONDS", 0.1):
                received = await self.failures(Script(status=401, fault=fault, framing=framing, body=b"{"))

                assert [each.code for each in received] == ["provider_auth"] * 2

    async def test_a_timeout_and_a_stop_end_it_at_once(self):
        self.server.default = Script(status=401, fault="trickle", body=b"{")
        for stops in (True, False):
            provider = OpenAIProvider(
                "openai", api_key="k", base_url=self.server.openai_url, first_event_timeout=60 if stops else 2
            )
            with self.subTest(stops=stops), mock.patch.object(error_bodies, "MAX_SECONDS", 600):
                run = made(provider)
                run.start(lambda run: None)
                await self.server.until_call(1)
                if stops:
                    run.request_stop("user")
                ending = await asyncio.wait_for(ended(run), 10)
                self.server.clear()

                assert (ending.end_reason or ending.error_code) == ("user" if stops else "provider_timeout")


@pytest.mark.once
@pytest.mark.slow
class HeaderTests(ServedTests):
    async def test_the_key_is_not_sent_to_another_host(self):
        with ProviderServer() as other:
            for status in (301, 302, 307, 308):
                received = await self.failures(Script(status=status, headers={"location": f"{other.url}/v1/messages"}))

                assert [each.code for each in received] == ["provider_rejected"] * 2
            assert other.connections == 0

    async def test_huge_headers_are_refused(self):
        for headers in ({"x-request-id": "r" * 100_000}, {f"x-{number}": "y" * 1000 for number in range(1000)}):
            received = await self.failures(Script(status=500, headers=headers, body={}))

            assert {each.code for each in received} <= {"provider_protocol", "provider_unavailable"}
            assert all(len(each.stream.request_id) <= 255 for each in received)

    def test_an_absurd_time_to_wait_is_none_or_a_number(self):
        for value in ("1e400", "nan", "-5", "inf", "9" * 5000, "Mon, 99 Foo 99999", "Fri, 31 Dec 9999 23:59:59 GMT"):
            seconds = retry_after({"retry-after": value, "retry-after-ms": ""})

            assert seconds is None or 0 <= seconds < float("inf"), value


def _words() -> list[str]:
    """Return the words of all patterns, and some that stand next to each other in them."""
    found = {
        word
        for pattern, _code in errors._MESSAGES
        for word in re.findall(r"[a-z]{3,}|[\u4e00-\u9fff]+", pattern.pattern)
    }
    together = (
        "prompt tokens",
        "input length entity",
        "the maximum",
        "model not",
        "limit: 1",
        "limit:1,",
        "1",
        "a",
        "!",
    )
    return sorted({*found, *together})


@pytest.mark.once
class SearchTests(SimpleTestCase):
    def test_a_pattern_takes_twice_the_time_for_twice_the_text(self):
        """The search is limited to 4,000 characters beside that."""
        patterns = [pattern for pattern, _code in errors._MESSAGES]
        patterns += [errors._ABOVE_LIMIT, errors._REQUESTED, errors._BUSY]
        for word, between in itertools.product(_words(), (" ", "")):
            text = (word + between) * (4_000 // len(word) + 1)

            def search(size: int, text: str = text) -> None:
                for pattern in patterns:
                    pattern.search(text[:size])

            assert ratio(search, 2_000, 4_000, rounds=3) < LINEAR, word

    def test_what_is_searched_is_short(self):
        for error in (
            {"error": {"message": "model " * 1_000_000, "code": "x" * 1_000_000, "type": 10**5000}},
            {"detail": [{"msg": "model " * 1000}] * 1000},
            "model " * 1_000_000,
        ):
            words, _numbers, message = errors._words_of(error)

            assert len(words) < 1000
            assert len(message) <= 4_000

    def test_a_message_may_be_nested(self):
        nested = {"message": "prompt is too long"}
        for _level in range(100_000):
            nested = {"detail": [nested]}

        assert error_code(400, {"error": {"detail": nested}}) == ("context_too_long", False)
        assert status_in({"code": "9" * 10_000, "status": 10**5000}) is None
        while nested:  # Step by step: Python frees what is nested by recursion.
            nested = nested["detail"][0] if "detail" in nested else None
