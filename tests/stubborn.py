"""Providers that do not let go of their connection: their close hangs, or they swallow every cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Self

from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream

WORDS = ("Hel", "lo ")
LATE = "too late"


class StubbornProvider(Provider):
    """Says WORDS, and then does not let go.

    how: "swallow" (reading goes on, whatever cancels it), "hang" (closing never returns) or "finish" (as "hang", though the
    reply is complete). After `release` it says LATE, if it still reads, and lets go.
    """

    streams: list[StubbornStream] = []

    def __init__(self, alias: str, how: str = "swallow", **options: Any) -> None:
        super().__init__(alias, **options)
        self._how = how

    def stream(self, prompt: Prompt) -> StubbornStream:
        stream = StubbornStream(self._how)
        self.streams.append(stream)
        return stream

    @classmethod
    def release(cls) -> list[StubbornStream]:
        """Let all streams go, and return them. From any thread."""
        released, cls.streams[:] = list(cls.streams), []
        for stream in released:
            with contextlib.suppress(RuntimeError):
                stream.loop.call_soon_threadsafe(stream.released.set)
        return released


class StubbornStream(ProviderStream):
    """is_closed: it has let go."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._words = list(WORDS)
        self.loop = asyncio.get_running_loop()
        self.released = asyncio.Event()
        self.is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        if self._how != "swallow":
            await self.released.wait()
        self.is_closed = True

    async def read(self) -> list[Event] | None:
        if self._words:
            return [Event(TEXT, self._words.pop(0))]
        if self._how == "finish" or self.released.is_set():
            return None
        if self._how == "hang":
            await self.released.wait()
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        return [Event(TEXT, LATE)]
