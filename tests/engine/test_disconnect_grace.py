"""How long a reply goes on without a reader."""

import asyncio

from django.test import SimpleTestCase

from streaming_chat.engine import disconnect_grace
from streaming_chat.engine.disconnect_grace import GracePeriod


class GracePeriodTests(SimpleTestCase):
    async def met(self, seconds: float | None) -> GracePeriod:
        """Return the grace period of a reply that a reader has met and left."""
        period = GracePeriod(asyncio.get_running_loop(), seconds)
        period.end_with_reader()
        self.passed = asyncio.Event()
        period.start(self.passed.set)
        return period

    async def test_it_passes(self):
        period = await self.met(0.01)
        await asyncio.wait_for(self.passed.wait(), 5)

        assert period.is_over

    async def test_a_reader_that_comes_back_ends_it(self):
        period = await self.met(0)
        await asyncio.wait_for(self.passed.wait(), 5)
        period.end_with_reader()

        assert not period.is_over

    async def test_a_reader_that_comes_back_in_time_keeps_it_from_passing(self):
        period = await self.met(0.01)
        period.end_with_reader()

        assert period._timer.cancelled()

    async def test_without_a_limit_it_never_passes(self):
        period = await self.met(None)

        assert period._timer is None
        assert not period.is_over

    async def test_a_reply_that_no_reader_has_met_has_longer(self):
        """A client may leave before the first byte, and come back."""
        loop = asyncio.get_running_loop()
        period = GracePeriod(loop, 0)
        before = loop.time()
        period.start(lambda: None)
        due = period._timer.when()
        period.cancel()

        assert due >= before + disconnect_grace._FIRST_READER_SECONDS
