"""Recorded streams of real providers, end to end: provider, run, reader and row.

The streams are those of test_recorded_streams.py.
"""

import random
from typing import Any

import pytest

from streaming_chat.models import Message
from streaming_chat.protocol.events import SOURCE
from streaming_chat.protocol.storable_text import storable
from streaming_chat.providers import get_provider
from streaming_chat.providers.base import Usage

from . import test_recorded_streams as recorded
from .provider_server import Script, blocks
from .servers import WIRES, Exchange, ServerTestCase

pytestmark = pytest.mark.any_database

WAYS: dict[str, dict[str, Any]] = {
    "event by event": {},
    "split at random bytes": {"writes": "random", "seed": 7},
    "in one write": {"writes": "whole"},
    "with CRLF": {"crlf": True, "writes": "random", "seed": 8},
}


class RecordedReplyTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        for alias in WIRES:
            # With a hundred replies at once, importing an SDK takes longer than a test waits for an event.
            get_provider(alias).prepare()

    def test_each_gives_its_reply_however_it_is_written(self):
        for way, how in WAYS.items():
            exchanges = [self.send(recording, f"{way} {recording.name}", **how) for recording in recorded.RECORDINGS]
            for recording, exchange in zip(recorded.RECORDINGS, exchanges, strict=True):
                with self.subTest(f"{recording.name} {way}"):
                    message = self.read(exchange)

                    self.check(message, recording.expect)

    def test_a_cut_completes_a_reply_only_with_its_finish_inside(self):
        """Some places of each, to the row; all of them are tried without one in test_recorded_streams.py."""
        for fault, seed in zip(("cut", "drop", "reset", "cut"), range(4), strict=True):
            rng = random.Random(seed)
            places = [rng.randrange(len(blocks(recording.raw))) for recording in recorded.RECORDINGS]
            exchanges = [
                self.send(recording, f"{seed} {after} of {recording.name}", fault=fault, after=after)
                for recording, after in zip(recorded.RECORDINGS, places, strict=True)
            ]
            for recording, after, exchange in zip(recorded.RECORDINGS, places, exchanges, strict=True):
                with self.subTest(f"{recording.name} {fault} {after}"):
                    message = self.read(exchange)

                    self.check_cut(message, recording, b"".join(blocks(recording.raw)[:after]))

    def test_half_a_character_of_a_try_that_broke_is_not_in_the_next(self):
        halves = next(one for one in recorded.RECORDINGS if one.name.startswith("surrogates"))
        self.provider.script(Script(raw=halves.raw, fault="cut", after=1), Script(["Hello"]))
        message = self.read(self.browser.send("half"))

        assert message.text == "Hello"
        assert len(self.provider.calls) == 2

    def send(self, recording: recorded.Recording, asked: str, **how: Any) -> Exchange:
        self.provider.by_text[asked] = Script(raw=recording.raw, **how)
        return self.browser.send(asked, model=f"{recording.wire}:any")

    def read(self, exchange: Exchange) -> Message:
        """Read to the end; what the reader was told is what the row says."""
        exchange.rest()
        message = Message.objects.get(pk=exchange.message_id)

        assert len(exchange.endings) == 1
        assert exchange.endings[0].data["status"] == message.status
        assert exchange.text == message.text
        assert reasoning_told(exchange) == joined(message, "reasoning")
        exchange.close()
        return message

    def check(self, message: Message, expect: dict[str, Any]) -> None:
        calls = [part for part in message.parts if part["kind"] == "tool_call"]

        assert message.text == joined(message, "text") == storable(expect.get("text", ""))
        assert joined(message, "reasoning") == expect.get("reasoning", "")
        assert recorded._calls(calls) == recorded._expected_calls(expect.get("tool_calls", []))
        assert [part["url"] for part in message.parts if part["kind"] == SOURCE] == expect.get("sources", [])
        assert message.finish_reason == expect.get("finish_reason", "")
        assert (message.status, message.end_reason) == ending_of(expect, message)
        if "usage" in expect:
            assert usage_of(message) == recorded._expected_usage(expect["usage"])
            assert not message.tokens_estimated

    def check_cut(self, message: Message, recording: recorded.Recording, prefix: bytes) -> None:
        assert storable(recording.expect.get("text", "")).startswith(message.text.removesuffix("\ufffd"))
        assert recording.expect.get("reasoning", "").startswith(joined(message, "reasoning"))
        assert message.status in ("completed", "interrupted", "failed")
        if not recorded._finish_inside(prefix):
            assert message.status == ("interrupted" if message.parts else "failed")
            assert message.error_code == "provider_truncated" or "error" in recording.expect


def joined(message: Message, kind: str) -> str:
    return "".join(part["text"] for part in message.parts if part["kind"] == kind)


def reasoning_told(exchange: Exchange) -> str:
    return "".join(frame.data["reasoning"] for frame in exchange.frames if frame.event == "reasoning")


def usage_of(message: Message) -> list[int | None]:
    return [getattr(message, name) for name in Usage._fields]


def ending_of(expect: dict[str, Any], message: Message) -> tuple[str, str]:
    """Return the status and reason that a stream should end its reply with."""
    if "error" in expect:
        return ("interrupted", "provider_error") if message.parts else ("failed", "")
    reason = expect.get("end_reason", recorded.END_REASONS.get(expect.get("finish_reason", ""), "stop"))
    if reason != "content_filter" and not (
        joined(message, "text").strip() or any(part["kind"] == "tool_call" for part in message.parts)
    ):
        return "failed", ""
    return "completed", reason
