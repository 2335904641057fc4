"""OpenAI's Responses API over loopback: what it is sent, and what its replies are read as.

The streams of tests/recorded_responses.py go through tests/test_recorded_streams.py.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.events import REASONING, SOURCE, TEXT, TOOL_CALL
from streaming_chat.providers.base import Prompt, RunContext, Turn, Usage
from streaming_chat.providers.http import MAX_WHOLE_BYTES
from streaming_chat.providers.model_options import EFFORTS, ModelOptions
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider
from tests.provider_server import ProviderServer, Script
from tests.received import PROMPT, Received, receive
from tests.recorded_responses import stream

pytestmark = [pytest.mark.once, pytest.mark.slow]

KEY = "sk-very-secret"
CREATED = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}


class ServedTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.provider = OpenAIResponsesProvider("openai", api_key=KEY, base_url=cls.server.openai_url)

    def setUp(self):
        self.server.clear()

    async def reply(self, script: Script, prompt: Prompt = PROMPT) -> Received:
        self.server.script(script)
        return await receive(self.provider, prompt)

    async def body(self, model: str = "gpt-6-luna", **options: Any) -> dict[str, Any]:
        """Return what the API is sent for a model with these options."""
        self.server.clear()
        await self.reply(Script(), PROMPT.replace(model=model, options=ModelOptions(**options)))
        return self.server.calls[0].body


class RequestTests(ServedTests):
    async def test_the_body_is_the_prompt_and_nothing_is_stored(self):
        await self.reply(Script())

        assert self.server.calls[0].path == "/v1/responses"
        assert self.server.calls[0].body == {
            "model": "gpt-x",
            "instructions": "Be brief.",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}],
            "max_output_tokens": 100,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "stream": True,
            "stream_options": {"include_obfuscation": False},
        }

    async def test_turns_keep_their_order_and_no_system_prompt_is_none(self):
        turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
        received = await self.reply(Script(), Prompt(model="m", turns=turns))
        body = self.server.calls[0].body

        assert received.error is None
        assert [(turn["role"], turn["content"][0]["type"], turn["content"][0]["text"]) for turn in body["input"]] == [
            ("user", "input_text", "a"),
            ("assistant", "output_text", "b"),
            ("user", "input_text", "c"),
        ]
        assert "instructions" not in body
        assert not self.provider.prefills("m")

    async def test_each_effort(self):
        for model, sent in {
            "gpt-6-luna": ["none", "low", "low", "medium", "high", "xhigh", "max"],
            "gpt-5": ["minimal", "minimal", "low", "medium", "high", "high", "high"],
            "our-deployment": list(EFFORTS),
        }.items():
            with self.subTest(model):
                bodies = [await self.body(model, effort=effort) for effort in EFFORTS]

                assert [body["reasoning"] for body in bodies] == [{"effort": effort} for effort in sent]

    async def test_reasoning_is_shown_where_the_site_wants_it(self):
        assert (await self.body(show_reasoning=True))["reasoning"] == {"summary": "auto"}
        assert (await self.body(effort="low", show_reasoning=True))["reasoning"] == {"effort": "low", "summary": "auto"}
        assert "reasoning" not in await self.body()

    async def test_a_model_without_reasoning_is_not_asked_for_it(self):
        """It would refuse the request: "Encrypted content is not supported with this model"."""
        body = await self.body("gpt-4.1-mini", effort="low", show_reasoning=True)

        assert not body.keys() & {"reasoning", "include"}

    async def test_the_sites_parameters_and_headers_come_last(self):
        parameters = {"temperature": 0.2, "text": {"verbosity": "low"}, "reasoning": {"summary": "detailed"}}
        body = await self.body(effort="low", parameters=parameters, headers={"X-Team": "one"}, max_output_tokens=7)

        assert body["reasoning"] == {"effort": "low", "summary": "detailed"}
        assert (body["temperature"], body["text"], body["max_output_tokens"]) == (0.2, {"verbosity": "low"}, 7)
        assert self.server.calls[0].headers["x-team"] == "one"
        assert not (await self.body()).keys() & {"temperature", "text"}

    def test_openai_itself_is_told_one_owner_and_conversation_from_another(self):
        """By hashes. A compatible server may refuse what it does not know."""
        context = RunContext(user_id=77, owner_hash="0a1b", conversation_id=UUID(int=1))
        hashes = {"safety_identifier": "0a1b", "prompt_cache_key": context.conversation_hash}
        for address, expected in ((None, hashes), ("http://api.openai.com.example/v1", {})):
            provider = OpenAIResponsesProvider("openai", api_key=KEY, base_url=address)
            for prompt, sent in ((PROMPT.replace(context=context), expected), (PROMPT, {})):
                with self.subTest(address, sent=sent):
                    body = provider.parameters(prompt)

                    assert {name: body[name] for name in body if name in hashes} == sent

    def test_prices_are_those_of_the_address(self):
        own = OpenAIResponsesProvider("openai", api_key=KEY)

        assert own.price_source() == ("provider_id", "openai")
        assert self.provider.price_source() == ("provider_api_url", self.server.openai_url)

    def test_nothing_shows_the_key(self):
        assert KEY not in repr(vars(self.provider))


class ReplyTests(ServedTests):
    async def test_a_reply(self):
        received = await self.reply(
            Script(reasoning=("Let me ", "think."), tool_calls=[("weather", '{"city":"Lisbon"}')])
        )

        assert [event.kind for event in received.events] == [REASONING] * 2 + [TEXT] * 4 + [TOOL_CALL]
        assert (received.reasoning, received.text) == ("Let me think.", "Hello, wörld!")
        assert received.tool_calls == [
            {"id": "call_0", "name": "weather", "arguments": '{"city":"Lisbon"}', "complete": True}
        ]
        assert received.stream.usage == Usage(7, 0, 4, 0)
        assert (received.stream.finish_reason, received.stream.end_reason) == ("completed", "tool_calls")
        assert received.stream.request_id == "req_loopback"

    async def test_without_a_header_the_response_has_the_id(self):
        received = await self.reply(Script(raw=stream(CREATED, COMPLETED), headers={"x-request-id": ""}))

        assert received.stream.request_id == "resp_1"

    async def test_a_whole_response_in_place_of_a_stream(self):
        script = Script(reasoning=("Hm.",), tool_calls=[("weather", "{}")], as_json=True)
        received = await self.reply(script)

        assert (received.reasoning, received.text) == ("Hm.", script.text)
        assert [call["name"] for call in received.tool_calls] == ["weather"]
        assert (received.stream.finish_reason, received.stream.end_reason) == ("completed", "tool_calls")
        assert received.stream.usage == Usage(7, 0, 4, 0)

    async def test_a_whole_response_that_has_not_ended(self):
        for response, code in (
            ({"status": "in_progress"}, "provider_truncated"),
            ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "x"}}, "provider_rate_limited"),
            ({"status": "cancelled"}, "provider_error"),
            ({"object": "error", "message": "out of memory"}, "provider_error"),
        ):
            with self.subTest(response):
                received = await self.reply(Script(as_json=True, body={"object": "response", "output": [], **response}))

                assert received.code == code

    async def test_a_call_that_the_limit_cuts_off_is_incomplete(self):
        item = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": ""}
        reply = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        raw = stream(
            CREATED,
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.output_item.done", "output_index": 0, "item": {**item, "status": "incomplete"}},
            {"type": "response.incomplete", "response": reply},
        )
        received = await self.reply(Script(raw=raw))

        assert [(call["name"], call["complete"]) for call in received.tool_calls] == [("weather", False)]
        assert received.stream.end_reason == "length"

    async def test_what_was_held_is_left_over_when_the_stream_breaks(self):
        annotation = {"type": "url_citation", "url": "https://a.example/", "title": "A"}
        raw = stream(
            CREATED,
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Ja"},
            {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": annotation},
            {
                "type": "response.output_item.added",
                "output_index": 1,
                "item": {"type": "function_call", "name": "weather"},
            },
        )
        received = await self.reply(Script(raw=raw))

        assert received.code == "provider_truncated"
        assert [event.kind for event in received.leftovers] == [SOURCE, TOOL_CALL]
        assert received.leftovers[1].payload["complete"] is False

    async def test_a_page_is_one_source_and_a_reply_has_no_more_than_a_hundred(self):
        annotations = [{"type": "url_citation", "url": f"https://a.example/{number % 150}"} for number in range(300)]
        odd = [None, {"type": "url_citation", "url": 7}, {"type": "url_citation", "url": "https://" + "a" * 3_000}]
        item = {"type": "message", "content": [{"type": "output_text", "annotations": odd + annotations}]}
        raw = stream(CREATED, {"type": "response.output_item.done", "output_index": 0, "item": item}, COMPLETED)
        received = await self.reply(Script(raw=raw))

        assert [source["url"] for source in received.sources] == [
            f"https://a.example/{number}" for number in range(100)
        ]

    async def test_reasoning_is_kept_as_it_is_at_its_end(self):
        """And of a call, its place among the reasoning."""
        reasoning = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{}"}
        early = {**reasoning, "encrypted_content": "early"}
        raw = stream(
            CREATED,
            {"type": "response.output_item.added", "output_index": 0, "item": early},
            {"type": "response.output_item.done", "output_index": 0, "item": reasoning},
            {"type": "response.output_item.done", "output_index": 1, "item": call},
            COMPLETED,
        )
        received = await self.reply(Script(raw=raw))

        assert received.stream.state == [reasoning, {"type": "function_call", "id": "fc_1", "call_id": "call_1"}]
        assert not [event for event in received.events if "gAAAA" in str(event.payload)]

    async def test_a_response_that_ends_without_a_state_is_cut_off(self):
        raw = stream(CREATED, {"type": "response.completed", "response": {"id": "resp_1"}})
        received = await self.reply(Script(raw=raw))

        assert received.code == "provider_truncated"

    async def test_data_of_another_shape(self):
        for payload in (
            {"type": "response.output_text.delta", "delta": 7},
            {"type": "response.output_item.done", "item": None},
            {"type": "response.completed", "response": []},
            {"type": ["?"]},
        ):
            with self.subTest(payload):
                raw = stream(CREATED, f"data: {payload}".replace("'", '"').replace("None", "null"))
                received = await self.reply(Script(raw=raw))

                assert received.code == "provider_protocol"

    async def test_arguments_without_end_are_returned_as_they_are(self):
        piece = "x" * 100_000
        raw = stream(
            CREATED,
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "name": "f"}},
            *[{"type": "response.function_call_arguments.delta", "output_index": 0, "delta": piece}] * 30,
            COMPLETED,
        )
        received = await self.reply(Script(raw=raw))

        assert len(raw) < MAX_WHOLE_BYTES
        assert [call["complete"] for call in received.tool_calls] == [False]


class RefusedRequestTests(ServedTests):
    async def test_an_error_status(self):
        for status, error, code in (
            (400, {"code": "context_length_exceeded", "message": "x"}, "context_too_long"),
            (401, {"code": "invalid_api_key", "message": "x"}, "provider_auth"),
            (400, {"code": "unsupported_value", "type": "invalid_request_error", "message": "x"}, "provider_rejected"),
            (404, {"code": "model_not_found", "message": "x"}, "model_unknown"),
        ):
            with self.subTest(code):
                received = await self.reply(Script(status=status, body={"error": error}))

                assert received.code == code
