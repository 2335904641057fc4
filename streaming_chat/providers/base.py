"""What a provider promises: it takes a prompt and returns a stream of events.

A provider knows its API's wire format and nothing of runs, rows or requests. Timeouts, retries and endings are up to
the engine (engine/run.py): a provider only says what it received and what went wrong, in our codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from streaming_chat.backends import Backend
from streaming_chat.conf import POSITIVE_SECONDS, conf, whole_number
from streaming_chat.protocol.events import PART_WEIGHT, Event

from .model_options import MAX_OUTPUT_TOKENS
from .prompt import Prompt, RunContext, Turn
from .tools import Tools

if TYPE_CHECKING:
    from .batches import ProviderBatches

__all__ = [
    "FINISH_SECONDS",
    "Prompt",
    "Provider",
    "ProviderOptions",
    "ProviderStream",
    "RunContext",
    "Tools",
    "Turn",
    "Usage",
    "longest_reply",
]

# Time to wait for more after the finish reason, in seconds. Usage follows within one; some servers never say that this was
# all, and keep the connection open, with heartbeats or without.
FINISH_SECONDS = 3.0


def longest_reply() -> int:
    """Return the largest weight of a reply (see `protocol/events.py`); its first part weighs no more than its text."""
    return conf.STREAMING_CHAT_MAX_REPLY_CHARS + PART_WEIGHT


class Usage(NamedTuple):
    """The numbers of tokens that the provider reported; None for those that it did not.

    input_tokens includes cached_input_tokens, which were read from the provider's cache, and cache_write_tokens, which were
    written to it; output_tokens includes reasoning_tokens.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None


class ProviderStream(ABC):
    """One reply of a provider: an async context manager, whose `read` is called until it returns None.

    request_id: the provider's id of the request, for its support. finish_reason: the provider's own word, "" until it is
    known; then the reply is complete, and is kept open for FINISH_SECONDS after its last event. end_reason: ours, one of
    stop, length, content_filter and tool_calls. usage: None until it is known.

    state: what this API wants to have back unchanged while tools run, in the order of the reply: signed or encrypted
    reasoning, ids of items. Each is a JSON object that only this provider reads, such as a block of the reply as it was
    received. It is stored beside the reply, and no client, transcript or export ever gets it. A stream that has any adds
    each once it is complete, to a list of its own; `HttpStream` has one, and `HttpStream.keep` limits its size.

    What `read` and `leftovers` return is cut off at the longest reply (MAX_REPLY_CHARS). What a stream holds back, such as
    tool calls that are not complete, it must limit by itself: beyond `longest_reply()` it returns them as they are.
    """

    request_id: str = ""
    finish_reason: str = ""
    end_reason: str = "stop"
    usage: Usage | None = None
    state: Sequence[Mapping[str, Any]] = ()

    @abstractmethod
    async def __aenter__(self) -> ProviderStream:
        """Open the stream. Raises ProviderError."""

    @abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection to the provider, even if the reply was not read to its end."""

    @abstractmethod
    async def read(self) -> list[Event] | None:
        """Return the events of one network read; None at the end of a complete reply.

        The list is empty if bytes arrived without an event (a ping). If an error follows events in the same read, the events
        are returned first, and the next call raises the error.
        Raises ProviderError for every failure: a stream that stops without an ending is `provider_truncated`.
        """

    def leftovers(self) -> list[Event]:
        """Return the tool calls that were received in part, as events with `complete: False`."""
        return []


class ProviderOptions(TypedDict, total=False):
    """The options of every provider, for the signature of a subclass: `**options: Unpack[ProviderOptions]`."""

    connect_timeout: float
    first_event_timeout: float
    stall_timeout: float
    max_output_tokens: int
    max_prompt_chars: int


_KINDS = {
    "connect_timeout": POSITIVE_SECONDS,
    "first_event_timeout": POSITIVE_SECONDS,
    "stall_timeout": POSITIVE_SECONDS,
    "max_output_tokens": whole_number("tokens"),
    "max_prompt_chars": whole_number("code points"),
}


class Provider(Backend, ABC):
    """A configured model API. alias is the name before the colon in `alias:model`.

    connect_timeout: Seconds that connecting may take, including DNS and TLS.
    first_event_timeout: Seconds until the first event of a reply, including connecting and retries.
    stall_timeout: Seconds without a byte from the API, after the first event.
    max_output_tokens: The most tokens that a reply may have, including reasoning. It is sent to the API, and reserved in the
        quota. The options of a model may name another number.
    max_prompt_chars: The most code points of history that are sent. A longer history is cut to the newest 60 %, in whole
        messages, so that the prompts of the next turns begin with the same message, which a prompt cache needs. The reply
        records how many messages were left out.
    """

    # As OpenTelemetry's GenAI conventions name the API (gen_ai.provider.name); "" for the alias.
    telemetry_name: str = ""
    # Whether `Prompt.tools` are sent to the API, and the calls and results of earlier turns.
    takes_tools: bool = False
    connect_timeout: float = 5.0
    first_event_timeout: float = 60.0
    stall_timeout: float = 30.0
    max_output_tokens: int = MAX_OUTPUT_TOKENS
    max_prompt_chars: int = 200_000

    def __init__(self, alias: str, **options: Unpack[ProviderOptions]) -> None:
        self.alias = alias
        for name, value in options.items():
            if name not in _KINDS:
                raise TypeError(f"{type(self).__name__} has no option {name}")
            if not _KINDS[name].accepts(value):
                raise ValueError(f"{name} must be {_KINDS[name].wanted}, got {type(value).__name__}")
            setattr(self, name, value)

    @abstractmethod
    def stream(self, prompt: Prompt) -> ProviderStream:
        """Return the stream of a new reply. It is opened later, in an event loop."""

    def prefills(self, model: str) -> bool:
        """Return whether this model continues an assistant's turn at the end of a prompt; else it gets an instruction."""
        return False

    def problem_with_tools(self, model: str, tools: Tools) -> str:
        """Return why this model cannot be given these tools of a client, "" if it can."""
        return "" if self.takes_tools else "This model cannot be given tools by a client."

    def sends_output(self, prompt: Prompt) -> bool:
        """Return whether the request tells the API what object the reply must be; else the system prompt tells the model."""
        return False

    def prepare(self) -> None:
        """Do what the first reply would have to wait for, such as importing an SDK. Blocking; may be called again.

        It is called in a thread of a process that serves requests, when it starts, and never in a transaction. It must
        not use the network. A reply may begin before it returns.
        """

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """Return what is sent to the API, without keys, for `manage.py askmodel` to show."""
        return {}

    def batches(self) -> ProviderBatches | None:
        """Return the provider's batch API; None without one."""
        return None

    def price_source(self) -> tuple[str, str] | None:
        """Return whose prices apply, as the name and value of an argument of `genai_prices.calc_price`; None if unknown."""
        return None
