"""Reasoning between tags, through the bytes of a stream, which is cut at every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.events import REASONING, TEXT
from streaming_chat.providers.base import Turn
from streaming_chat.providers.model_options import ModelOptions
from streaming_chat.providers.openai import OpenAIProvider
from tests.provider_server import ProviderServer, Script
from tests.received import PROMPT, receive

pytestmark = pytest.mark.once

THOUGHT, ANSWER = "Hm: a < b, `</think>`, ü.", "Yes: `<think>` ü."
UNOPENED: dict[str, Any] = {"think_tags": "unopened"}
# The pieces of the text as the server sends them, and the options of the model.
VARIANTS: list[tuple[list[str], dict[str, Any]]] = [
    (["<think>", "\nHm: a < b,", " `</think>`, ü.\n", "</think>", "\n\n", "Yes: `<think>`", " ü."], {}),
    (["\n<thi", "nking>Hm: a <", " b, `</think>`, ü.</thi", "nking>Yes: `", "<think>` ü."], {}),
    (["<", "thought>Hm: a < b, `<", "/think>`, ü.", "<", "/thought>\nYes: `<think>` ü."], {}),
    (["◁thi", "nk▷Hm: a < b, `</think>`, ü.◁/th", "ink▷Yes: `<think>` ü."], {}),
    (["<think>Hm: a < b, `</think>`, ü.</think>Yes: `<think>` ü."], UNOPENED),
    (["Hm: a < b,", " `</th", "ink>`, ü.\n</th", "ink>\n\nYes: `<think>`", " ü."], UNOPENED),
    (["Hm: a < b, `</think>`, ü.</thinking>Yes: ", "`<think>` ü."], UNOPENED),
]


def _raw(pieces: list[str]) -> bytes:
    deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [json.dumps(chunk, ensure_ascii=False) for chunk in (*deltas, finish)]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


class CutTests(SimpleTestCase):
    async def test_cut_at_every_byte(self):
        provider = OpenAIProvider("openai", api_key="k", base_url="http://127.0.0.1:1/v1")
        for pieces, options in VARIANTS:
            raw = _raw(pieces)
            prompt = PROMPT.replace(options=ModelOptions(**options))
            found = set()
            for cut in range(len(raw) + 1):
                stream = provider.stream(prompt)
                events = [event for data in (raw[:cut], raw[cut:]) if data for event in stream._events_of(data)]
                found.add(
                    tuple("".join(one.payload for one in events if one.kind == kind) for kind in (REASONING, TEXT))
                )

            with self.subTest(pieces):
                assert found == {(THOUGHT, ANSWER)}

    @pytest.mark.slow
    async def test_one_byte_at_a_time_over_a_socket(self):
        with ProviderServer() as server:
            provider = OpenAIProvider("openai", api_key="k", base_url=server.openai_url)
            for pieces, options in VARIANTS:
                raw = _raw(pieces)
                server.script(Script(raw=raw, writes=range(1, len(raw))))
                received = await receive(provider, PROMPT.replace(options=ModelOptions(**options)))

                with self.subTest(pieces):
                    assert (received.reasoning, received.text, received.code) == (THOUGHT, ANSWER, "")

    async def test_an_ordinary_reply_is_not_held_back(self):
        """Its first text is read with the first bytes, though a closing tag might follow."""
        provider = OpenAIProvider("openai", api_key="k", base_url="http://127.0.0.1:1/v1")
        stream = provider.stream(PROMPT)

        assert [event.payload for event in stream._events_of(_raw(["H"]).partition(b"\n\n")[0] + b"\n\n")] == ["H"]

    async def test_a_continued_answer_is_no_reasoning(self):
        """Its prompt ends with the answer so far, and not with an opening tag."""
        provider = OpenAIProvider("openai", api_key="k", base_url="http://127.0.0.1:1/v1")
        turns = (*PROMPT.turns, Turn("assistant", "It"))
        stream = provider.stream(PROMPT.replace(turns=turns, options=ModelOptions(**UNOPENED)))

        assert [(event.kind, event.payload) for event in stream._events_of(_raw([" rains."]))] == [(TEXT, " rains.")]

    async def test_a_site_may_have_the_tags_left_in_the_text(self):
        provider = OpenAIProvider("openai", api_key="k", base_url="http://127.0.0.1:1/v1")
        stream = provider.stream(PROMPT.replace(options=ModelOptions(think_tags=False)))
        events = stream._events_of(_raw(["<think>Hm.</think>", "Yes."]))

        assert [(event.kind, event.payload) for event in events] == [(TEXT, "<think>Hm.</think>"), (TEXT, "Yes.")]
