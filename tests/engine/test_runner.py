"""A run ends once, with what it received, whatever its provider or its loop does to it."""

import asyncio
import contextlib
import os
import uuid
import warnings

from django.test import SimpleTestCase

from streaming_chat.engine.run import Order, Run
from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream


class Odd(Provider, ProviderStream):
    """A provider of a site's own, which says one word; `reading`, `leaving` and `rest` are what is odd about it."""

    def __init__(self, *, reading=None, leaving=None, rest=list):
        self.alias = "odd"
        self.words = ["Hello"]
        self.is_awaited = asyncio.Event()
        self.reading, self.leaving, self.leftovers = reading, leaving, rest

    def stream(self, prompt):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *args):
        if self.leaving:
            raise self.leaving

    async def read(self):
        if self.words:
            return [Event(TEXT, self.words.pop())]
        self.is_awaited.set()
        return await self.reading() if self.reading else None


def made(provider) -> Run:
    order = Order(uuid.uuid4(), uuid.uuid4(), provider, Prompt("m", "", (), 9), {}, None)
    return Run(order, asyncio.get_running_loop(), lambda: None)


async def begun(provider) -> Run:
    """Return a run whose provider has said its word."""
    run = made(provider)
    run.begin(lambda run: None)
    async with asyncio.timeout(5):
        await provider.is_awaited.wait()
    return run


async def ended(run):
    await asyncio.wait([run._task], timeout=5)
    return run.outcome


async def nothing():
    await asyncio.Event().wait()


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
        run.begin(lambda run: None)
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
        run.saved(endings.payload(endings.broken("lease_expired", received=True), "Hello", None), 6)
        await asyncio.sleep(0)

        assert run.stream.ended
        assert run.stream.cut == 6

    async def test_a_saved_run_is_forgotten_though_its_loop_makes_no_more_calls(self):
        forgotten = []
        run = made(Odd())
        run.begin(forgotten.append)
        await ended(run)
        run._in_loop = lambda call: None
        run.saved(endings.payload(run.outcome, "Hello", None), 6)

        assert forgotten == [run]


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


class ForkTests(SimpleTestCase):
    def test_a_child_begins_anew(self):
        """Threads do not survive a fork, so what they were to save is the parent's alone."""
        worker = writer.worker
        runner._runs[uuid.uuid4()] = None
        self.addCleanup(runner.reset)
        with warnings.catch_warnings():
            # The test's other threads hold no lock that the child takes.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os._exit(0 if (runner.live, writer.worker == worker) == ([], False) else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(runner.live) == 1
