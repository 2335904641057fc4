"""What is measured of a reply."""

import asyncio

from django.test import SimpleTestCase

from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event

from .odd import Odd, begun, ended


class ReasoningTests(SimpleTestCase):
    """Each piece takes the model 30 ms, and so does the end: what lies between two of them is at least that."""

    async def took(self, *pieces: list[Event]) -> tuple[int | None, int]:
        """Return how long a reply of these reads reasoned, and how long it took in all, in milliseconds."""
        left = list(pieces)

        async def reading():
            await asyncio.sleep(0.03)
            return left.pop(0) if left else None

        odd = Odd(reading=reading)
        odd.words = []
        run = await begun(odd)
        await ended(run)
        columns = run.columns()
        return columns["reasoning_ms"], columns["duration_ms"]

    async def test_it_lasts_to_the_first_event_of_another_kind(self):
        thought, said = [Event(REASONING, "Hm. ")], [Event(TEXT, "Yes.")]
        reasoned, took = await self.took(thought, thought, said, said)

        assert 59 <= reasoned <= took - 59

    async def test_a_tool_call_ends_it_too(self):
        call = [Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{}", "complete": True})]
        reasoned, took = await self.took([Event(REASONING, "Hm.")], call, call)

        assert 29 <= reasoned <= took - 59

    async def test_only_the_first_counts(self):
        thought, said = [Event(REASONING, "Hm.")], [Event(TEXT, "Yes.")]
        reasoned, took = await self.took(thought, said, thought, said)

        assert 29 <= reasoned <= took - 89

    async def test_without_anything_after_it_lasts_to_the_end(self):
        reasoned, took = await self.took([Event(REASONING, "Hm.")])

        assert 29 <= reasoned <= took - 29

    async def test_what_came_in_one_read_took_no_time(self):
        assert (await self.took([Event(REASONING, "Hm."), Event(TEXT, "Yes.")]))[0] == 0

    async def test_a_reply_without_any_has_none(self):
        assert (await self.took([Event(TEXT, "Yes.")]))[0] is None
