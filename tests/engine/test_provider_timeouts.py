"""How long a provider may take, and what ends the reply then."""

import asyncio
from unittest import mock

from django.test import SimpleTestCase, override_settings

from streaming_chat.engine import provider_timeouts
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TEXT, Event

from .odd import Odd, begun, ended, made, nothing

SHORT = 0.05


class TimeoutTests(SimpleTestCase):
    async def test_the_first_event_is_waited_for_so_long(self):
        odd = Odd(reading=nothing, first_event_timeout=SHORT)
        odd.words = []

        assert await ended(await begun(odd)) == endings.broken("provider_timeout", received=False)

    async def test_the_time_of_the_sites_context_is_not_the_providers(self):
        async def look_up(run, turns):
            await asyncio.sleep(3 * SHORT)

        for words, ending in (
            (["Hello"], endings.completed("stop")),
            ([], endings.broken("provider_timeout", received=False)),
        ):
            odd = Odd(reading=nothing if not words else None, first_event_timeout=SHORT)
            odd.words = words
            run = made(odd, site_context=look_up)
            run.start(lambda run: None)

            assert await ended(run) == ending

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

    async def test_after_the_finish_reason_neither_silence_nor_heartbeats_keep_it_open(self):
        async def ping():
            await asyncio.sleep(SHORT / 5)
            return []

        for reading in (nothing, ping):
            with self.subTest(reading.__name__), mock.patch.object(provider_timeouts, "FINISH_SECONDS", SHORT):
                odd = Odd(reading=reading, stall_timeout=60)
                odd.finish_reason, odd.end_reason = "max_tokens", "length"

                assert await ended(await begun(odd)) == endings.completed("length")

    async def test_text_after_the_finish_reason_keeps_it_open(self):
        words = 20

        async def word():
            nonlocal words
            words -= 1
            await asyncio.sleep(SHORT / 2)
            return [Event(TEXT, "a")] if words else None

        with mock.patch.object(provider_timeouts, "FINISH_SECONDS", 2 * SHORT):
            odd = Odd(reading=word, stall_timeout=60)
            odd.finish_reason = "stop"
            run = await begun(odd)
            await ended(run)

        assert run.position == 1 + len("Hello") + 19

    @override_settings(STREAMING_CHAT_MAX_REPLY_SECONDS=3 * SHORT)
    async def test_a_reply_that_was_finished_in_time_is_not_cut_off(self):
        odd = Odd(reading=nothing)
        odd.finish_reason = "stop"

        assert await ended(await begun(odd)) == endings.completed("stop")

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
