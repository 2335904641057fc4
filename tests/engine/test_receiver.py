"""What is received from a provider: retries, and what is kept of text and tool calls that come in halves."""

import asyncio
import json

from django.test import SimpleTestCase, override_settings

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TEXT, TOOL_CALL, Event

from .odd import Odd, begun, ended, made

CALL = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{", "complete": False})


def unavailable(retry_after: float | None = 0) -> ProviderError:
    return ProviderError("provider_unavailable", retryable=True, retry_after=retry_after)


class Attempts(Odd):
    """A provider whose attempts each read from a list of their own; an error in it is raised."""

    def __init__(self, *attempts):
        super().__init__()
        self.attempts = [list(attempt) for attempt in attempts]
        self.count = 0

    def stream(self, prompt):
        self.left = self.attempts[self.count]
        self.count += 1
        return self

    async def read(self):
        if not self.left:
            return None
        said = self.left.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


async def received(provider):
    """Return a run that has ended."""
    run = made(provider)
    run.start(lambda run: None)
    await ended(run)
    return run


class RetryTests(SimpleTestCase):
    async def test_it_is_tried_three_times(self):
        odd = Attempts([unavailable()], [unavailable()], [[Event(TEXT, "Yes")]])
        run = await received(odd)

        assert run.outcome == endings.completed("stop")
        assert odd.count == 3

    async def test_not_once_something_was_received(self):
        odd = Attempts([[Event(TEXT, "Hel")], unavailable()], [[Event(TEXT, "Hello")]])
        with self.assertLogs("streaming_chat", "WARNING"):
            run = await received(odd)

        assert (run.outcome.status, run.outcome.end_reason) == ("interrupted", "provider_error")
        assert odd.count == 1

    async def test_not_if_the_provider_asks_for_a_long_pause(self):
        odd = Attempts([unavailable(retry_after=60)], [[Event(TEXT, "Yes")]])
        with self.assertLogs("streaming_chat", "WARNING"):
            run = await received(odd)

        assert (run.outcome.status, odd.count) == ("failed", 1)

    async def test_half_a_character_of_one_attempt_is_no_part_of_the_next(self):
        """A lone high surrogate is nothing received: it waits for its other half."""
        run = await received(Attempts([[Event(TEXT, "\ud83d")], unavailable()], [[Event(TEXT, "Hello")]]))

        assert run.events[1:] == [Event(TEXT, "Hello")]

    async def test_what_is_left_half_at_the_end_is_kept(self):
        run = await received(Attempts([[Event(TEXT, "Hi\ud83d")]]))

        assert run.events[1:] == [Event(TEXT, "Hi"), Event(TEXT, "\ufffd")]


class LogTests(SimpleTestCase):
    """What the log says of a request that the provider rejects."""

    async def logged(self) -> str:
        error = ProviderError(
            "provider_rejected", status=400, detail="param temperature", message="You wrote: Hi\nthere"
        )
        with self.assertLogs("streaming_chat", "WARNING") as logged:
            await received(Attempts([error]))
        return "\n".join(logged.output)

    async def test_its_facts_without_its_message(self):
        """The message may quote what users wrote."""
        logged = await self.logged()

        assert "provider_rejected from odd, status 400, request -, param temperature" in logged
        assert "You wrote" not in logged

    async def test_its_message_where_the_site_wants_it(self):
        for wanted in ({"STREAMING_CHAT_LOG_PROVIDER_MESSAGES": True}, {"DEBUG": True}):
            with self.subTest(wanted), override_settings(**wanted):
                logged = await self.logged()

                assert "What odd says; ref " in logged
                assert "You wrote: Hi\\nthere" in logged


class StateTests(SimpleTestCase):
    """What the provider wants to have back unchanged."""

    async def test_it_is_of_the_attempt_that_succeeded(self):
        class Stateful(Attempts):
            def stream(self, prompt):
                self.state = [{"signature": f"\0 {self.count}"}]
                return super().stream(prompt)

        run = await received(Stateful([unavailable()], [[Event(TEXT, "Yes")]]))

        assert json.loads(run.provider_states[0]) == [{"signature": "\0 1"}]
        assert run.provider_states[0].isascii()

    async def test_none_is_nothing(self):
        assert (await received(Attempts([[Event(TEXT, "Yes")]]))).provider_states == {}

    async def test_what_is_no_json_costs_the_reply_nothing(self):
        odd = Attempts([[Event(TEXT, "Yes")]])
        odd.state = [{"signature": object()}]
        with self.assertLogs("streaming_chat", "ERROR"):
            run = await received(odd)

        assert (run.outcome, run.provider_states) == (endings.completed("stop"), {})


class LeftoverTests(SimpleTestCase):
    async def test_they_are_kept_once(self):
        """Also those of a provider that returns them again and again."""
        run = await begun(Odd(rest=lambda: [CALL]))
        await ended(run)

        assert run.events[1:] == [Event(TEXT, "Hello"), CALL]

    async def test_an_error_of_the_provider_keeps_them(self):
        async def fail():
            raise ProviderError("provider_error")

        with self.assertLogs("streaming_chat", "WARNING"):
            run = await begun(Odd(reading=fail, rest=lambda: [CALL]))
            await ended(run)

        assert run.events[1:] == [Event(TEXT, "Hello"), CALL]
        assert run.outcome.status == "interrupted"


class CloseTests(SimpleTestCase):
    async def test_the_ending_is_decided_before_the_connection_is_closed(self):
        """A stop that comes while it closes is too late."""
        closing, close = asyncio.Event(), asyncio.Event()

        class Slow(Odd):
            async def __aexit__(self, *args):
                closing.set()
                await close.wait()

        run = await begun(Slow())
        await closing.wait()
        run.request_stop("user")
        await asyncio.sleep(0)
        close.set()

        assert await ended(run) == endings.completed("stop")
