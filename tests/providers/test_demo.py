from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.events import SOURCE
from streaming_chat.providers.base import Prompt, Turn
from streaming_chat.providers.demo import SCRIPTS, SOURCES, DemoProvider, words
from streaming_chat.providers.model_options import ModelOptions
from streaming_chat.providers.tools import Tools
from tests.received import Received, receive


def _prompt(*texts: str) -> Prompt:
    roles = ("user", "assistant")
    return Prompt(model="demo", turns=tuple(Turn(roles[n % 2], text) for n, text in enumerate(texts)))


async def _reply(*texts: str) -> Received:
    return await receive(DemoProvider("demo", words_per_second=0), _prompt(*texts))


TOOLS = Tools(
    (
        {"name": "find_orders", "parameters": {"type": "object", "properties": {}}},
        {
            "name": "refund",
            "parameters": {"type": "object", "properties": {"amount": {"type": "integer", "examples": [5]}}},
        },
    )
)


class ToolTests(SimpleTestCase):
    async def called(self, text: str) -> list[tuple[str, str]]:
        received = await receive(DemoProvider("demo", words_per_second=0), _prompt(text).replace(tools=TOOLS))
        return [(call["name"], call["arguments"]) for call in received.tool_calls]

    async def test_a_word_of_its_name_calls_a_tool(self):
        assert await self.called("Refund my order, please") == [("refund", '{"amount": 5}')]
        assert await self.called("Which orders, and a refund?") == [("find_orders", "{}"), ("refund", '{"amount": 5}')]
        assert await self.called("Use a tool") == [("find_orders", "{}")]
        assert await self.called("Hello") == []

    async def test_it_tells_the_results_and_calls_nothing_more(self):
        result = {"kind": "tool_result", "id": "demo_0", "text": "Order 17\nOrder 18", "status": "ok"}
        call = {"kind": "tool_call", "id": "demo_0", "name": "find_orders", "arguments": "{}", "complete": True}
        turns = (Turn("user", "Which orders?"), Turn("assistant", [call]), Turn("user", [result]))
        prompt = Prompt(model="demo", turns=turns, tools=TOOLS)
        received = await receive(DemoProvider("demo", words_per_second=0), prompt)

        assert "- Order 17 Order 18" in received.text
        assert received.tool_calls == []


class DemoTests(SimpleTestCase):
    @pytest.mark.slow
    async def test_every_reply_says_that_no_model_is_behind_it(self):
        for text in ("Hello", *SCRIPTS.keys() - {"fail", "blank", "budget"}):
            with self.subTest(text):
                received = await _reply(text)

                assert "demo" in received.text

    async def test_the_first_reply_introduces_itself(self):
        received = await _reply("What is the weather like?")

        assert "no model behind me" in received.text
        assert received.error is None
        assert (received.stream.finish_reason, received.stream.end_reason) == ("stop", "stop")

    async def test_later_replies_depend_on_the_message(self):
        """Asking the same again gives the same; over some messages, each reply comes up."""
        replies = {(await _reply("Hi", "…", f"message {number}")).text for number in range(20)}

        assert len(replies) == 3
        assert "You wrote 2 words" in "".join(replies)

    async def test_it_counts_no_tokens(self):
        assert (await _reply("Hello")).stream.usage is None

    async def test_a_long_one_is_long(self):
        received = await _reply("A LONG one, please")

        assert len(received.text.split()) > 1000
        assert received.text.count("###") == 20

    @pytest.mark.slow
    async def test_it_is_silent_for_as_long_as_it_is_asked(self):
        started = monotonic()
        received = await _reply("pause 1")

        assert received.text == "The built-in demo is silent now, and speaks again."
        assert monotonic() - started >= 1

    async def test_an_error_comes_after_text(self):
        received = await _reply("error")

        assert received.text
        assert received.code == "provider_error"

    async def test_a_failure_comes_before_any(self):
        received = await _reply("fail")

        assert received.events == []
        assert received.code == "provider_unavailable"

    @pytest.mark.slow
    async def test_thinking_comes_as_reasoning(self):
        received = await _reply("think")

        assert received.reasoning.startswith("The message asks for thinking.")
        assert received.text

    async def test_a_model_cites_sources(self):
        provider = DemoProvider("demo", words_per_second=0)
        received = await receive(provider, _prompt("Hello").replace(model="librarian"))
        cited = [event.payload for event in received.events if event.kind == SOURCE]

        assert [source["title"] for source in cited] == [source["title"] for source in SOURCES]

    @pytest.mark.slow
    async def test_a_model_thinks_as_much_as_its_effort_says(self):
        provider = DemoProvider("demo", words_per_second=0)
        lengths = []
        for effort in ("none", "low", "medium", "high"):
            prompt = _prompt("Hello").replace(model="thinker", options=ModelOptions(effort=effort))
            received = await receive(provider, prompt)
            lengths.append(len(received.reasoning))
            assert "built-in demo" in received.text

        assert lengths[0] == 0
        assert lengths == sorted(set(lengths))

    async def test_a_tool_call_is_one_event(self):
        received = await _reply("tool")

        assert [call["name"] for call in received.tool_calls] == ["weather"]
        assert received.stream.end_reason == "tool_calls"

    async def test_a_reply_that_was_cut_off_is_continued(self):
        """By the steps after its end, wherever a stop has cut it."""
        for word, whole in (
            ("cut", "asked to continue."),
            ("error", "asked to continue."),
            ("code", "one at a time.\n"),
        ):
            text = (await _reply(word)).text
            for shown in (text.rstrip(), text[: len(text) // 2].rstrip(), text[:5]):
                with self.subTest(word=word, shown=shown):
                    received = await _reply(word, shown)

                    assert (shown + received.text).startswith(text.rstrip())
                    assert received.text.endswith(whole) or not received.text.strip()
                    assert received.stream.end_reason == "stop"

    async def test_every_other_ending_can_be_seen(self):
        reasons = {"cut": "length", "filter": "content_filter", "blank": "stop", "budget": "length"}
        for word, reason in reasons.items():
            assert (await _reply(word)).stream.end_reason == reason

    async def test_one_word_is_read_at_a_time(self):
        received = await _reply("Hello")

        assert all(len(events) == 1 for events in received.reads)
        assert len(received.reads) == len(received.text.split())

    async def test_it_keeps_its_speed(self):
        """20 words at 200 a second are 0.1 s."""
        provider = DemoProvider("demo", words_per_second=200, script=[{"text": "word " * 20}])
        began = monotonic()
        await receive(provider)

        assert 0.09 < monotonic() - began < 2

    @pytest.mark.slow
    async def test_it_is_cancelled_between_words(self):
        provider = DemoProvider("demo", script=[{"text": "one"}, {"pause": 3600}])
        async with provider.stream(_prompt("x")) as stream:
            await stream.read()
            waiting = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            waiting.cancel()

            with self.assertRaises(asyncio.CancelledError):
                await waiting


class ScriptTests(SimpleTestCase):
    async def test_steps_follow_each_other(self):
        script = [
            {"reasoning": "Hm."},
            {"pause": 0.001},
            {"text": "Ja \n\n nein "},
            {"tool_call": {"id": "1", "name": "t", "arguments": "{}"}},
            {"finish": "length"},
        ]
        received = await receive(DemoProvider("demo", words_per_second=0, script=script))

        assert (received.reasoning, received.text) == ("Hm.", "Ja \n\n nein ")
        assert received.tool_calls == [{"id": "1", "name": "t", "arguments": "{}", "complete": True}]
        assert received.stream.end_reason == "length"

    async def test_one_provider_plays_its_script_again_and_again(self):
        provider = DemoProvider("demo", words_per_second=0, script=[{"text": "Ja"}])

        assert [(await receive(provider)).text for _ in range(3)] == ["Ja"] * 3

    def test_a_step_that_is_none_is_refused(self):
        for step in ({"txet": "Ja"}, {}, {"text": "Ja", "pause": 1}, "Ja"):
            with self.subTest(step), self.assertRaisesMessage(ValueError, "a step is a mapping"):
                DemoProvider("demo", script=[step])

    def test_words_joined_are_the_text(self):
        for text in ("", " ", "one", " one  two\n\n\tthree \n", "漢字 é"):
            with self.subTest(text):
                assert "".join(words(text)) == text
