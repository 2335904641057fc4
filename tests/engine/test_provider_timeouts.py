"""How long a provider may take, and what ends the reply then."""

import asyncio

from django.test import SimpleTestCase, override_settings

from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TEXT, Event

from .odd import Odd, begun, ended, nothing

SHORT = 0.05


class TimeoutTests(SimpleTestCase):
    async def test_the_first_event_is_waited_for_so_long(self):
        odd = Odd(reading=nothing, first_event_timeout=SHORT)
        odd.words = []

        assert await ended(await begun(odd)) == endings.broken("provider_timeout", received=False)

    async def test_a_silence_ends_the_reply(self):
        assert await ended(await begun(Odd(reading=nothing, stall_timeout=SHORT))) == endings.broken(
            "provider_stall", received=True
        )

    async def test_a_provider_that_has_finished_and_keeps_the_connection_open_has_not_stalled(self):
        for finish_reason, end_reason in (("stop", "stop"), ("max_tokens", "length")):
            with self.subTest(finish_reason):
                odd = Odd(reading=nothing, stall_timeout=SHORT)
                odd.finish_reason, odd.end_reason = finish_reason, end_reason

                assert await ended(await begun(odd)) == endings.completed(end_reason)

    async def test_bytes_without_an_event_are_no_silence(self):
        """A ping every 0.05 s, for longer than the timeout of 0.5 s."""
        pings = 20

        async def ping():
            nonlocal pings
            pings -= 1
            await asyncio.sleep(SHORT)
            return [] if pings else None

        assert await ended(await begun(Odd(reading=ping, stall_timeout=10 * SHORT))) == endings.completed("stop")

    @override_settings(STREAMING_CHAT_MAX_REPLY_SECONDS=3 * SHORT)
    async def test_a_reply_has_a_longest_time(self):
        async def word():
            await asyncio.sleep(SHORT / 5)
            return [Event(TEXT, "a")]

        assert await ended(await begun(Odd(reading=word))) == endings.completed("length_cap")
