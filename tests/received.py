"""Reads a provider's reply to its end, for tests: what came, and what it ended with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import REASONING, SOURCE, TEXT, TOOL_CALL, Event
from streaming_chat.providers.base import Prompt, Provider, ProviderStream, Turn
from streaming_chat.providers.model_options import ModelOptions

PROMPT = Prompt(
    model="gpt-x", system="Be brief.", turns=(Turn("user", "Hello?"),), options=ModelOptions(max_output_tokens=100)
)


@dataclass
class Received:
    """A reply as it was read. error: what it ended with, None for a complete one. reads: the events of each read."""

    stream: ProviderStream
    reads: list[list[Event]] = field(default_factory=list)
    error: ProviderError | None = None
    leftovers: list[Event] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [event for events in self.reads for event in events]

    @property
    def text(self) -> str:
        return self._joined(TEXT)

    @property
    def reasoning(self) -> str:
        return self._joined(REASONING)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return [event.payload for event in self.events if event.kind == TOOL_CALL]

    @property
    def sources(self) -> list[dict[str, Any]]:
        return [event.payload for event in self.events if event.kind == SOURCE]

    @property
    def code(self) -> str:
        """The error's code, "" for a complete reply."""
        return self.error.code if self.error else ""

    def _joined(self, kind: str) -> str:
        return "".join(event.payload for event in self.events if event.kind == kind)


async def receive(provider: Provider, prompt: Prompt = PROMPT) -> Received:
    """Return a reply, read to its end or its error."""
    received = Received(provider.stream(prompt))
    try:
        async with received.stream as stream:
            try:
                while (events := await stream.read()) is not None:
                    received.reads.append(events)
            finally:
                received.leftovers = stream.leftovers()
    except ProviderError as error:
        received.error = error
    return received
