"""A run ends once, with what it received, whatever its provider or its loop does to it."""

import asyncio
import contextlib
import threading

from django.test import SimpleTestCase

from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TEXT, TOOL_CALL, Event
from tests.provider_server import TIMEOUT

from .odd import Odd, begun, ended, made, nothing


async def deaf():
    """Take the cancellation for a timeout of its own, as some libraries do."""
    with contextlib.suppress(asyncio.CancelledError):
        await nothing()


def broken():
    raise KeyError("id")


class EndingTests(SimpleTestCase):
    async def test_a_run_that_is_cancelled_before_its_first_step_ends(self):
        """Its task never runs: a server that goes just then would leave the reply live for ever."""
        run = made(Odd(reading=nothing))
        run.start(lambda run: None)
        run._task.cancel()

        assert await ended(run) == endings.Ending(endings.FAILED, error_code="shutdown")

    async def test_a_stop_that_the_provider_swallows_is_a_stop(self):
        run = await begun(Odd(reading=deaf))
        run.request_stop("user", 3)

        assert await ended(run) == endings.stopped("user", 3)

    async def test_a_connection_that_fails_to_close_takes_nothing_back(self):
        run = await begun(Odd(leaving=OSError()))

        assert await ended(run) == endings.Ending(endings.COMPLETED, "stop")

    async def test_leftovers_that_cannot_be_read_do_not_keep_it_alive(self):
        run = await begun(Odd(reading=nothing, rest=broken))
        with self.assertLogs("streaming_chat", "ERROR"):
            run.request_stop("user")

            assert await ended(run) == endings.stopped("user")

    async def test_half_a_tool_call_is_something_received(self):
        call = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{", "complete": False})
        odd = Odd(reading=nothing, rest=lambda: [call])
        odd.words = []
        run = await begun(odd)
        run._stop(endings.broken("provider_timeout", received=False))

        assert (await ended(run)).status == endings.INTERRUPTED

    async def test_readers_go_on_to_the_ending_that_was_saved(self):
        """A stop cut it here, but another process had settled it whole before."""
        run = await begun(Odd(reading=nothing))
        run.request_stop("user", 3)
        await ended(run)
        run.mark_saved(endings.payload(endings.broken("lease_expired", received=True), "Hello", None), 6)
        await asyncio.sleep(0)

        assert run.stream.ended
        assert run.stream.cut == 6

    async def test_of_two_stops_the_first_wins(self):
        run = await begun(Odd(reading=nothing))
        run.request_stop("user", 3)
        run.request_stop("staff")

        assert await ended(run) == endings.stopped("user", 3)

    async def test_a_saved_run_is_over_and_says_so_once(self):
        over = []
        run = made(Odd())
        run.start(over.append)
        await ended(run)
        payload = endings.payload(run.outcome, "Hello", None)
        run.mark_saved(payload, 6)
        run.mark_saved(payload, 6)
        run.dismiss()
        await asyncio.sleep(0)

        assert over == [run]
        assert run.ended.is_set()
        assert (run.stream.ended, run.stream.dismissed) == (True, False)

    def test_a_saved_run_is_over_though_its_loop_is_closed(self):
        over = []

        async def start():
            run = made(Odd())
            run.start(over.append)
            await ended(run)
            return run

        run = asyncio.run(start())
        run.mark_saved(endings.payload(run.outcome, "Hello", None), 6)

        assert over == [run]
        assert run.ended.is_set()

    def test_a_run_whose_loop_was_closed_under_it_can_be_shut_down(self):
        loop = asyncio.new_event_loop()
        run = loop.run_until_complete(begun(Odd(reading=nothing)))
        loop.close()
        was_orphaned = run.is_orphaned
        run.shut_down()

        assert was_orphaned
        assert run.outcome == endings.broken("shutdown", received=True)
        assert not run.is_orphaned
        # Its task was never told.
        run._task._log_destroy_pending = False

    async def test_a_reply_that_was_ended_elsewhere_lets_go_of_its_provider(self):
        """This worker was taken for dead."""
        odd = Odd(reading=nothing)
        run = await begun(odd)
        run.mark_saved(endings.payload(endings.broken("lease_expired", received=True), "Hello", None), 6)
        await ended(run)

        assert run._task.cancelled() or run._task.done()
        assert run.stream.events[-1].payload["end_reason"] == "lease_expired"


class AbandonTests(SimpleTestCase):
    """A provider that does not let go; see tests/test_stubborn_providers.py for all that ends a reply."""

    async def abandoned(self, reading):
        """Return a run that has been stopped, and whose provider did not let go within RELEASE_SECONDS."""
        concluded = asyncio.Event()
        run = await begun(Odd(reading=reading), concluded.set)
        with self.assertLogs("streaming_chat", "ERROR") as logged:
            run.request_stop("user")
            await asyncio.wait_for(concluded.wait(), TIMEOUT)

        assert "Provider odd has not let go of reply" in logged.output[0]
        return run

    async def test_what_it_says_after_the_ending_is_dropped(self):
        released = asyncio.Event()
        late_words = [[Event(TEXT, "too late")]]

        async def late():
            while not released.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await released.wait()
            return late_words.pop() if late_words else None

        run = await self.abandoned(late)
        released.set()
        await ended(run)

        assert late_words == []
        assert run.outcome == endings.stopped("user")
        assert [event.payload for event in run.events[1:]] == ["Hello"]
        assert run.position == 6

    def test_its_loop_does_not_wait_for_it(self):
        """asyncio.run waits for all tasks that it cancels: for this one for ever."""

        async def deaf_for_ever():
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await nothing()

        thread = threading.Thread(target=asyncio.run, args=(self.abandoned(deaf_for_ever),), daemon=True)
        thread.start()
        thread.join(TIMEOUT)

        assert not thread.is_alive()
