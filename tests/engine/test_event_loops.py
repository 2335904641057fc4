"""Calls into loops from other threads."""

import asyncio

from django.test import SimpleTestCase

from streaming_chat.engine.event_loops import call_in_loop, running_loop


class LoopTests(SimpleTestCase):
    async def test_a_thread_can_call_into_a_loop(self):
        called = asyncio.Event()
        await asyncio.to_thread(call_in_loop, running_loop(), called.set)

        await asyncio.wait_for(called.wait(), 5)

    def test_a_closed_loop_makes_no_calls(self):
        loop = asyncio.new_event_loop()
        loop.close()
        called = []
        call_in_loop(loop, called.append, 1)

        assert called == []

    def test_a_thread_without_a_loop_has_none(self):
        assert running_loop() is None
