"""What a provider promises: a prompt in, a stream of events out.

A provider knows its API's wire format and nothing of runs, rows or requests. Patience, retries and endings are the
runner's: a provider only says what came and what went wrong, in our codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, NamedTuple

from streaming_chat.protocol.events import Event


class Turn(NamedTuple):
    """One message of a prompt. role: "user" or "assistant"."""

    role: str
    text: str

    def __repr__(self) -> str:
        return "Turn()"


class Prompt:
    """What is asked of a model. Its repr is empty, so that no log or error page shows what people wrote.

    model: the provider's own name. system: "" for none. turns: oldest first, the last by the user.
    max_output_tokens: most tokens the reply may have.
    """

    __slots__ = ("max_output_tokens", "model", "system", "turns")

    def __init__(self, model: str, system: str, turns: tuple[Turn, ...], max_output_tokens: int) -> None:
        self.model = model
        self.system = system
        self.turns = turns
        self.max_output_tokens = max_output_tokens

    def __repr__(self) -> str:
        return "Prompt()"


class Usage(NamedTuple):
    """Tokens as the provider counted them; None where it did not say.

    input_tokens includes cached_input_tokens, output_tokens includes reasoning_tokens.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


class ProviderStream(ABC):
    """One reply of a provider: an async context manager that is read until it returns None.

    Filled as the provider says them: request_id, finish_reason (its last word, "" while unknown), end_reason (ours:
    stop, length, content_filter or tool_calls) and usage.
    """

    request_id: str = ""
    finish_reason: str = ""
    end_reason: str = "stop"
    usage: Usage | None = None

    @abstractmethod
    async def __aenter__(self) -> ProviderStream:
        """Open the stream. Raises ProviderError."""

    @abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection to the provider, however far it was read."""

    @abstractmethod
    async def read(self) -> list[Event] | None:
        """Return the events of one network read; None at the end of a reply that is complete.

        The list is empty where bytes came without an event (a ping). Events before an error in the same read are
        returned first; the error is raised by the next call.
        Raises ProviderError, in every case of failure: a stream that merely stops is `provider_truncated`.
        """

    def leftovers(self) -> list[Event]:
        """Return what was received of tool calls that are not whole, as events with `complete: False`."""
        return []


class Provider(ABC):
    """A configured model API.

    alias: the name before the colon in `alias:model`. options: the OPTIONS of its setting.
    """

    def __init__(self, alias: str, **options: Any) -> None:
        self.alias = alias
        if options:
            raise TypeError(f"{type(self).__name__} takes no option {', '.join(sorted(options))}.")

    @abstractmethod
    def stream(self, prompt: Prompt) -> ProviderStream:
        """Return the reply's stream, not yet opened."""
