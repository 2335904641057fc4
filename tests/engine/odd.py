"""A run of a provider that is odd in one way, for the tests of what receives a reply."""

from __future__ import annotations

import asyncio
import uuid

from streaming_chat.engine.run import Order, Run
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream


class Odd(Provider, ProviderStream):
    """A provider of a site's own, which says one word.

    reading: what it awaits after its word; what that returns is its next read. leaving: what it raises when it is closed.
    rest: what returns its leftovers. options: of every provider.
    """

    def __init__(self, *, reading=None, leaving=None, rest=list, **options):
        super().__init__("odd", **options)
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


def made(provider, flush_soon=lambda: None, **options) -> Run:
    """Return a run that has not been started. flush_soon: called at its conclusion. options: of its order."""
    order = Order(uuid.uuid4(), uuid.uuid4(), provider, Prompt(model="m"), {}, None, **options)
    return Run(order, asyncio.get_running_loop(), flush_soon)


async def begun(provider, flush_soon=lambda: None) -> Run:
    """Return a run whose provider has said its word."""
    run = made(provider, flush_soon)
    run.start(lambda run: None)
    async with asyncio.timeout(5):
        await provider.is_awaited.wait()
    return run


async def ended(run: Run):
    """Return how a run ended, once its task has."""
    await asyncio.wait([run._task], timeout=5)
    return run.outcome


async def nothing():
    """Never return."""
    await asyncio.Event().wait()
