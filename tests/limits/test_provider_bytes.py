"""What a provider may send in one reply: its weight, its parts, what is held back, and work that grows with the bytes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.test import SimpleTestCase, TestCase, override_settings

from streaming_chat.engine import saver
from streaming_chat.engine.run import Order, Run
from streaming_chat.logs import one_line
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.continued_text import Joint
from streaming_chat.protocol.events import PART_WEIGHT, REASONING, TEXT, TOOL_CALL, Event, fitting, weight
from streaming_chat.protocol.sse import Splitter
from streaming_chat.providers import finish_reasons, http, parsing
from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.openai import OpenAIProvider
from streaming_chat.providers.openai_tool_calls import ToolCalls
from streaming_chat.providers.thinking import ThinkTags
from tests.engine.odd import Odd, ended, made
from tests.engine.runs import Received as SavedRun
from tests.provider_server import ProviderServer, Script
from tests.received import PROMPT, receive

from .growth import LINEAR, ratio

LONGEST = 10_000
KILOBYTE = 1024
LENGTH_CAP = endings.completed("length_cap")


def call(arguments: str, **more: Any) -> Event:
    return Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": arguments, "complete": True, **more})


class EventTests(SimpleTestCase):
    def test_a_part_weighs_beside_its_text(self):
        some = [Event(TEXT, "abc"), Event(TEXT, "d"), Event(REASONING, "e"), Event(TEXT, "f")]

        assert weight(some) == 3 * PART_WEIGHT + 6
        assert weight(some, latest=TEXT) == 2 * PART_WEIGHT + 6
        assert weight([call("x" * 1000)] * 2) > 2 * (PART_WEIGHT + 1000)

    def test_a_value_may_be_nested_deeply(self):
        value: list = []
        for _level in range(100_000):
            value = [value, "x"]

        assert weight([Event("image", {"data": value})]) > 200_000
        while value:  # Step by step: Python frees what is nested by recursion.
            value = value[0]

    def test_what_fits_is_kept(self):
        text, tool_call = Event(TEXT, "a" * 50), call("b" * 1000)
        others = weight([call("")])

        assert list(fitting([text], 120)) == [Event(TEXT, "a" * 20)]
        assert list(fitting([text], PART_WEIGHT)) == []
        assert list(fitting([text], 20, latest=TEXT)) == [Event(TEXT, "a" * 20)]
        assert list(fitting([tool_call], others + 10)) == [call("b" * 10, complete=False)]
        assert list(fitting([tool_call, text], others)) == []
        assert list(fitting([Event("image", {"data": "c" * 50}), text], 120)) == []


@override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=LONGEST)
class OwnProviderTests(SimpleTestCase):
    """A site's own provider may return anything."""

    async def received(self, *reads: list[Event], rest: Callable[[], list[Event]] = list) -> Run:
        left = list(reads)

        async def read() -> list[Event] | None:
            return left.pop(0) if left else None

        odd = Odd(reading=read, rest=rest)
        odd.words = []
        run = made(odd)
        run.start(lambda run: None)
        await ended(run)
        return run

    async def test_one_event_of_any_size_is_cut(self):
        for event in (Event(TEXT, "a" * 10**6), Event(REASONING, "a" * 10**6), call("a" * 10**6)):
            with self.subTest(event.kind):
                run = await self.received([event], [Event(TEXT, "never")])

                assert run.outcome == LENGTH_CAP or event.kind == REASONING
                assert run.weight <= LONGEST + PART_WEIGHT
                assert events.text_length(run.events[-1].payload) > LONGEST - PART_WEIGHT

    async def test_a_tool_call_that_is_cut_is_not_complete(self):
        run = await self.received([Event(TEXT, "Hello"), call("a" * 6000), call("b" * 6000), call("c")])

        assert run.outcome == LENGTH_CAP
        assert [event.payload["complete"] for event in run.events[2:]] == [True, False]

    async def test_parts_are_limited_beside_their_text(self):
        for some in ([Event(TEXT, "a"), Event(REASONING, "b")], [call("")], [Event("image", {})]):
            with self.subTest(some[0].kind):
                run = await self.received(*[some] * LONGEST)

                assert run.outcome == LENGTH_CAP
                assert len(run.events) <= LONGEST // PART_WEIGHT + 2

    async def test_one_read_makes_no_more_events_than_parts(self):
        """Each is an object in memory until the reply ends."""
        run = await self.received([Event(TEXT, "a")] * 5000)

        assert run.events[1:] == [Event(TEXT, "a" * 5000)]

    async def test_leftovers_are_limited_too(self):
        run = await self.received([Event(TEXT, "a" * 6000)], rest=lambda: [call("b" * 6000, complete=False)])

        assert run.outcome == LENGTH_CAP
        assert run.weight <= LONGEST + PART_WEIGHT

    async def test_what_is_nested_too_deeply_ends_the_reply(self):
        nested: list = []
        for _level in range(100_000):
            nested = [nested]
        with self.assertLogs("streaming_chat", "ERROR"):
            run = await self.received([Event(TEXT, "Hello")], [Event("image", {"data": nested})])

        assert (run.outcome.status, run.outcome.error_code) == ("interrupted", "internal")
        while nested:
            nested = nested[0]


def openai(*deltas: dict[str, Any], finish: str = "") -> bytes:
    """Return a stream of these deltas."""
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}] if finish else []
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)


def begun(number: int, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": number, "id": f"call_{number}", "function": {"name": "f", **more}}]}


def piece(arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


@pytest.mark.once
@pytest.mark.slow
@override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=LONGEST)
class Served(SimpleTestCase):
    def setUp(self):
        self.server = self.enterContext(ProviderServer())
        self.openai = OpenAIProvider("openai", api_key="k", base_url=self.server.openai_url)
        self.anthropic = AnthropicProvider("anthropic", api_key="k", base_url=self.server.anthropic_url)

    async def runs(self, script: Script) -> list[Run]:
        """Return what became of this reply, over both wire formats."""
        return [await self.run_of(provider, script) for provider in (self.openai, self.anthropic)]

    async def run_of(self, provider: Any, script: Script) -> Run:
        self.server.default = script
        order = Order(uuid.uuid4(), uuid.uuid4(), provider, PROMPT, {}, None)
        run = Run(order, asyncio.get_running_loop(), lambda: None)
        run.start(lambda run: None)
        await ended(run)
        return run


class ServedTests(Served):
    async def test_tool_calls_are_limited_as_text_is(self):
        arguments = json.dumps({"text": "a" * 3000})
        for run in await self.runs(Script(tool_calls=[("f", arguments)] * 300)):
            calls = [event.payload for event in run.events if event.kind == TOOL_CALL]

            assert run.outcome == LENGTH_CAP
            assert run.weight <= LONGEST + PART_WEIGHT
            assert [each["complete"] for each in calls] == [True, True, True, False] or not all(
                each["complete"] for each in calls
            )
            assert len(calls) <= 4

    async def test_their_number_is_limited_too(self):
        for run in await self.runs(Script(tool_calls=[("f", "{}")] * 2000)):
            assert run.outcome == LENGTH_CAP
            assert len(run.events) <= LONGEST // PART_WEIGHT + 2

    async def test_a_call_that_never_ends_is_limited_while_it_is_held_back(self):
        """Also its name; its id is short in any case."""
        for delta in (piece("a" * 100), begun(0, name="n" * 100), begun(0)):
            with self.subTest(delta=str(delta)[:60]):
                growing = openai(begun(0), *[delta] * 2000)
                run = await self.run_of(self.openai, Script(raw=growing, fault="cut", after=2001))

                assert run.weight <= LONGEST + PART_WEIGHT
                assert run.outcome == LENGTH_CAP or len(str(run.events)) < KILOBYTE

    async def test_names_and_ids_are_short(self):
        delta = {"tool_calls": [{"index": 0, "id": "i" * 5000, "function": {"name": "n" * 5000, "arguments": "{}"}}]}
        raw = openai(delta, finish="x" * 5000).replace(b'{"choices"', b'{"id": "%b", "choices"' % (b"r" * 5000))
        received = await self.received(Script(raw=raw))
        tool_call = received.tool_calls[0]

        assert (len(tool_call["id"]), len(tool_call["name"])) == (parsing.MAX_ID, parsing.MAX_NAME)
        assert len(received.stream.finish_reason) == finish_reasons.MAX_FINISH_REASON
        assert len(received.stream.request_id) <= parsing.MAX_ID

    async def received(self, script: Script) -> Any:
        self.server.default = script
        async with asyncio.timeout(10):
            return await receive(self.openai)

    async def test_a_line_that_never_ends_is_limited(self):
        for raw in (b"data: " + b"x" * 200 * KILOBYTE, b"data: x\n" * 20_000, b": " + b"x" * 200 * KILOBYTE):
            with mock.patch.object(Splitter.__init__, "__defaults__", (100 * KILOBYTE,)):
                received = await self.received(Script(raw=raw, fault="stall", after=1))

            assert received.code == "provider_protocol"

    async def test_a_body_that_is_no_stream_is_limited(self):
        for body in (b"{" + b"x" * 200 * KILOBYTE, b"x" * 200 * KILOBYTE):
            with mock.patch.object(http, "MAX_WHOLE_BYTES", 100 * KILOBYTE):
                received = await self.received(Script(as_json=True, body=body))

            assert received.code == "provider_protocol"

    async def test_what_says_nothing_is_limited(self):
        """Heartbeats, white space before a body, and events that are ignored."""
        for raw in (
            b": x" * 25 + b"\n\n",
            b"   \n\n" * 20,
            b'data: {"other": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n\n',
        ):
            with mock.patch.object(http, "MAX_SILENT_BYTES", 100 * KILOBYTE):
                received = await self.received(Script(raw=raw * 4000, fault="stall", after=10**6, content_type=None))

            assert received.code == "provider_protocol"
            assert len(received.stream._head) < 10

    async def test_nested_json_is_unreadable(self):
        for text in ("[" * 100_000, '{"choices":' * 50_000):
            received = await self.received(Script(raw=f"data: {text}\n\n".encode()))

            assert received.code in ("provider_protocol", "provider_truncated")
            assert (await self.received(Script(as_json=True, body=text.encode()))).code == "provider_protocol"

    async def test_a_finish_reason_for_each_reply_does_not_fill_the_log(self):
        self.enterContext(mock.patch.object(finish_reasons, "_reported", set()))
        chunks = b"".join(openai(finish=f"odd-{number}") for number in range(1000))
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            await self.received(Script(raw=chunks))

        assert len(logs.records) == finish_reasons._MOST_REPORTED

    async def test_counts_of_unknown_names_are_not_kept(self):
        usages = [{"type": "message_delta", "usage": {f"tokens_{number}": 1}} for number in range(1000)]
        raw = b"".join(b"data: %b\n\n" % json.dumps(usage).encode() for usage in usages)
        self.server.default = Script(raw=raw)
        received = await receive(self.anthropic, PROMPT)

        assert received.stream._counted == {}


class LogTests(Served):
    FORGED = "req\x1b[31m\x85\u2028\u202e"

    @pytest.fixture(autouse=True)
    def _log(self) -> Iterator[None]:
        self.log = io.StringIO()
        handler = logging.StreamHandler(self.log)
        loggers = [logging.getLogger(name) for name in ("streaming_chat", "httpx2", "openai", "anthropic")]
        levels = [each.level for each in loggers]
        for each in loggers:
            each.addHandler(handler)
            each.setLevel(logging.DEBUG if each.name != "streaming_chat" else logging.INFO)
        yield
        for each, level in zip(loggers, levels, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)

    async def test_a_provider_cannot_forge_a_line(self):
        error = {"type": "invalid_request_error", "code": f"x\n{self.FORGED}", "message": f"\r\n{self.FORGED}"}
        refused = Script(
            status=400,
            reason=self.FORGED,
            headers={"x-request-id": self.FORGED, "request-id": self.FORGED},
            body={"error": error},
        )
        chunk = {"id": f"id\n{self.FORGED}" + "x" * 10_000, "choices": [{"finish_reason": f"odd\n{self.FORGED}"}]}
        broken = b"data: %b\n\ndata: %b\n\n" % (json.dumps(chunk).encode(), json.dumps({"error": error}).encode())
        for script in (refused, Script(raw=broken)):
            await self.runs(script)
        lines = self.log.getvalue()

        assert "\\x1b[31m" in lines
        assert not {*"\x1b\x85\u2028\u202e\r"} & {*lines}
        assert [line for line in lines.splitlines() if line.startswith(("req\\", "x"))] == []
        assert max(map(len, lines.splitlines())) < 2 * KILOBYTE

    def test_each_control_character_is_escaped(self):
        controls = [
            chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), 0x2066)
        ]

        assert all(one_line(f"a{control}b").isprintable() for control in controls)
        assert one_line("naïve 日本 😀") == "naïve 日本 😀"
        assert (one_line(7), one_line(None)) == (7, None)
        assert len(one_line("x" * 10_000)) < 400


class GrowthTests(SimpleTestCase):
    """Twice as much of what is received takes twice the time."""

    def looked_through(self, deltas: list[dict[str, Any]]) -> int:
        """Return how many bytes of arguments are parsed for these deltas."""
        sizes = []
        parse = parsing.parse

        def counting(data: bytes) -> Any:
            sizes.append(len(data))
            return parse(data)

        calls = ToolCalls()
        with mock.patch.object(parsing, "parse", counting):
            for delta in deltas:
                calls.take(delta["tool_calls"])
            calls.pop(complete=True)
        return sum(sizes)

    def test_arguments_are_not_looked_through_with_each_piece(self):
        """Each delta of this server has another id and the name, so it may begin another call."""
        first = begun(0, arguments='{"text": "' + "a" * 100_000)
        more = [begun(0, arguments="}") for _piece in range(3000)]
        for number, delta in enumerate(more):
            delta["tool_calls"][0]["id"] = f"other_{number}"

        assert self.looked_through([first, *more]) < 2_000_000

    def test_many_calls_begin_in_linear_time(self):
        def begin(count: int) -> None:
            calls = ToolCalls()
            for number in range(count):
                calls.take([{"index": 0, "id": f"c{number}", "function": {"name": "f", "arguments": "{}"}}])

        assert ratio(begin, 4000, 8000) < LINEAR

    def test_arguments_in_small_pieces(self):
        def take(count: int) -> None:
            calls = ToolCalls()
            for _piece in range(count):
                calls.take([{"index": 0, "function": {"name": "ab", "arguments": "a"}}])

        assert ratio(take, 20_000, 40_000) < LINEAR

    def test_a_line_in_small_pieces(self):
        def feed(count: int) -> None:
            splitter = Splitter()
            for _piece in range(count):
                splitter.feed(b"x")

        assert ratio(feed, 20_000, 40_000) < LINEAR

    def test_white_space_around_reasoning(self):
        for first in ("", "<think>"):

            def take(count: int, first: str = first) -> None:
                tags = ThinkTags()
                tags.take([Event(TEXT, first)])
                for _piece in range(count):
                    tags.take([Event(TEXT, " ")])

            assert ratio(take, 4_000, 8_000, rounds=3) < LINEAR

    def test_a_text_that_is_repeated_in_small_pieces(self):
        for unit in ("a", "word ", " "):

            def join(count: int, unit: str = unit) -> None:
                joint = Joint(unit * count + "b", "b")
                for _piece in range(count):
                    joint.take([Event(TEXT, unit)])
                joint.flush()

            assert ratio(join, 10_000, 20_000, rounds=3) < LINEAR, unit

    def test_what_is_held_back_of_white_space_is_limited(self):
        for holder in (ThinkTags(), Joint("Once upon a time")):
            taken = [holder.take([Event(TEXT, " ")]) for _piece in range(5000)]

            assert sum(map(events.length, taken)) > 3000


class SavingTests(TestCase):
    def test_a_tool_call_counts_as_its_text_in_a_transaction(self):
        """After an outage, everything that waits is saved: not in one transaction."""
        runs = [SavedRun("me") for _run in range(6)]
        for run in runs:
            run.events.append(call("a" * 1000))
        with mock.patch.object(saver, "_MOST_IN_TRANSACTION", 2500):
            groups = saver._by_weight([run.progress for run in runs])
            result = saver.Saver("me").save([run.progress for run in runs])

        assert [len(group) for group in groups] == [2, 2, 2]
        assert result.outage is None
        assert [run.rows for run in runs] == [[call("a" * 1000)]] * 6
        assert [run.progress.unsaved for run in runs] == [0] * 6
