"""What is kept of a reply of the messages API so that it can be sent back while tools run."""

from __future__ import annotations

from unittest import mock

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers import http
from streaming_chat.providers.anthropic import AnthropicProvider
from tests.provider_server import ProviderServer, Script
from tests.received import Received, receive

from .test_anthropic import STOP, _end, _raw, _start

pytestmark = pytest.mark.once

TEXT = {"type": "text", "text": "Yes."}
# As it came: white space, no padding, an escape.
SIGNATURE = " EqoB+/CkgI\n=é"
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgB\u0000"}


def _block(index, block, *deltas):
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _thinking(index, *texts, signature=SIGNATURE):
    deltas = [{"type": "thinking_delta", "thinking": text} for text in texts]
    signed = [{"type": "signature_delta", "signature": signature}] if signature else []
    return _block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas, *signed)


@pytest.mark.slow
class StateTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.provider = AnthropicProvider("anthropic", api_key="k", base_url=cls.server.anthropic_url)

    async def reply(self, *payloads, **script) -> Received:
        raw = _raw(_start(input_tokens=1), *payloads, _end("end_turn"), STOP)
        self.server.script(Script(raw=raw, **script))
        return await receive(self.provider)

    async def test_signed_thinking_is_kept_as_it_came(self):
        """In the order of the reply, however the bytes arrive."""
        payloads = [*_thinking(0, "Let ", "me see."), *_block(1, REDACTED), *_block(2, TEXT)]
        for seed in range(5):
            received = await self.reply(*payloads, writes="random", seed=seed)

            assert (received.code, received.reasoning, received.text) == ("", "Let me see.", "Yes.")
            assert received.stream.state == [
                {"index": 0, "block": {"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE}},
                {"index": 1, "block": REDACTED},
            ]

    async def test_thinking_whose_text_is_omitted(self):
        received = await self.reply(*_thinking(0, ""), *_block(1, TEXT))

        assert (received.code, received.reasoning, received.text) == ("", "", "Yes.")
        assert received.stream.state == [
            {"index": 0, "block": {"type": "thinking", "thinking": "", "signature": SIGNATURE}}
        ]

    async def test_a_body_that_is_no_stream(self):
        thought = {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE}
        body = {"type": "message", "content": [thought, REDACTED, TEXT], "stop_reason": "end_turn"}
        self.server.script(Script(as_json=True, body=body))
        received = await receive(self.provider)

        assert (received.code, received.reasoning, received.text) == ("", "Hm.", "Yes.")
        assert received.stream.state == [{"index": 0, "block": thought}, {"index": 1, "block": REDACTED}]

    async def test_nothing_without_a_signature(self):
        """Compatible servers send none: the events of the reply have all there is."""
        for signature in ("", None):
            received = await self.reply(*_thinking(0, "Hm.", signature=signature), *_block(1, TEXT))

            assert (received.reasoning, received.stream.state) == ("Hm.", [])

    async def test_a_block_that_was_cut_is_not_kept(self):
        received = await self.reply(*_thinking(0, "Hm."), *_block(1, TEXT), fault="cut", after=3)

        assert received.code == "provider_truncated"
        assert received.stream.state == []

    async def test_too_much_of_it_is_none(self):
        with mock.patch.object(http, "MAX_STATE_CHARS", 1_000):
            received = await self.reply(*_thinking(0, "Hm."), *_thinking(1, signature="x" * 1_000), *_thinking(2))

        assert (received.code, received.stream.state) == ("", [])
