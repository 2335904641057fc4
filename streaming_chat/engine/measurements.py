"""What is measured of a reply while it is received: times, tokens, and the provider's own words for them."""

from __future__ import annotations

from typing import Any

from streaming_chat.protocol.events import REASONING
from streaming_chat.providers.base import Prompt, ProviderStream, Usage

# Rough, and marked as estimated: providers count about four characters of English a token.
_CHARS_PER_TOKEN = 4


class Measurements:
    """Times are in seconds, by the loop's clock; None for what has not happened. asked_at: when the provider was asked."""

    __slots__ = (
        "_earlier_usage",
        "_finish_reason",
        "_reasoning_ended_at",
        "_reasoning_started_at",
        "_usage",
        "asked_at",
        "first_event_at",
        "last_bytes_at",
        "request_id",
        "started_at",
    )

    def __init__(self, now: float) -> None:
        self.started_at = self.last_bytes_at = now
        self.asked_at: float | None = now
        self.first_event_at: float | None = None
        self.request_id = ""
        self._reasoning_started_at: float | None = None
        self._reasoning_ended_at: float | None = None
        self._usage: Usage | None = None
        # Of the provider's earlier calls in the same reply.
        self._earlier_usage: Usage | None = None
        self._finish_reason = ""

    @property
    def reasoning_tokens(self) -> int | None:
        """The tokens of reasoning that the provider has counted."""
        usage = _sum(self._earlier_usage, self._usage)
        return usage and usage.reasoning_tokens

    def note_kind(self, kind: str) -> None:
        """Note when the first reasoning began, and when something else came after it."""
        if kind == REASONING:
            if self._reasoning_started_at is None:
                self._reasoning_started_at = self.last_bytes_at
        elif self._reasoning_started_at is not None and self._reasoning_ended_at is None:
            self._reasoning_ended_at = self.last_bytes_at

    def note_provider(self, upstream: ProviderStream) -> None:
        """Note what the provider has said of the reply. A usage that an earlier attempt had stays until there is another."""
        self._usage = upstream.usage or self._usage
        self._finish_reason = upstream.finish_reason
        self.request_id = upstream.request_id or self.request_id

    def begin_step(self, now: float) -> None:
        """Note that the provider is asked again; what it has counted before is added."""
        self.asked_at = self.last_bytes_at = now
        self._earlier_usage, self._usage = _sum(self._earlier_usage, self._usage), None

    def rest(self) -> None:
        """Note that the provider is not asked, since tools run."""
        self.asked_at = None

    def forget_provider(self) -> None:
        """Forget what a provider has said that did not answer: another one is asked."""
        self._usage, self._finish_reason, self.request_id = None, "", ""

    def columns(self, prompt: Prompt, position: int, ended_at: float) -> dict[str, Any]:
        """Return the columns of the reply's message that hold measurements. position: units received, with the start."""
        usage, is_estimated = _sum(self._earlier_usage, self._usage), False
        if usage is None and self.first_event_at is not None:
            usage, is_estimated = _estimate(prompt, position), True
        return {
            "request_id": self.request_id[:255],
            "finish_reason": self._finish_reason[:64],
            "first_event_ms": _milliseconds(self.started_at, self.first_event_at),
            "reasoning_ms": self._reasoning_ms(ended_at),
            "duration_ms": _milliseconds(self.started_at, ended_at),
            "tokens_estimated": is_estimated,
            **(usage._asdict() if usage else {}),
        }

    def _reasoning_ms(self, ended_at: float) -> int | None:
        """Return how long the model reasoned; reasoning that nothing followed lasted to the end."""
        if self._reasoning_started_at is None:
            return None
        until = ended_at if self._reasoning_ended_at is None else self._reasoning_ended_at
        return _milliseconds(self._reasoning_started_at, until)


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return one or other
    pairs = zip(one, other, strict=True)
    return Usage(*(None if a is None and b is None else (a or 0) + (b or 0) for a, b in pairs))


def _milliseconds(since: float, until: float | None) -> int | None:
    return None if until is None else round((until - since) * 1000)


def _estimate(prompt: Prompt, position: int) -> Usage:
    return Usage(
        input_tokens=-(-prompt.chars // _CHARS_PER_TOKEN), output_tokens=-(-(position - 1) // _CHARS_PER_TOKEN)
    )
