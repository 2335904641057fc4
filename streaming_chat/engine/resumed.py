"""What a reply goes on with that has waited for an answer, in whichever process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streaming_chat.protocol import tool_calls
from streaming_chat.protocol.events import Event

# What a message adds up over its parts.
_ADDED = (
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("reasoning_ms", "duration_ms"),
)
# What the first part has found out.
_KEPT = ("first_event_ms",)
MEASURED = (*_ADDED, *_KEPT)


class Answer(NamedTuple):
    """What a person, or a client, has said to a call. Its repr shows no text.

    digest: of the tool when it was asked for. arguments: None unless they were changed. output: of a client's tool.
    has_run: the call had begun to run before, in a worker that died.
    """

    approved: bool
    digest: str
    arguments: str | None = None
    reason: str = ""
    output: str | None = None
    has_run: bool = False

    def result(self, call_id: str) -> Event | None:
        """Return the result of a call that does not run here; None if nothing is known of it."""
        if self.output is not None:
            return tool_calls.result(call_id, tool_calls.OK, self.output)
        if not self.approved:
            return tool_calls.denial(call_id, self.reason)
        return tool_calls.result(call_id, tool_calls.UNKNOWN, tool_calls.LOST) if self.has_run else None

    def __repr__(self) -> str:
        return f"Answer(approved={self.approved})"


class Resumed(NamedTuple):
    """events: the saved ones, from position 1. answers: by the id of the call. states: the provider's, by step.

    measured: columns of the message as they were saved when the reply began to wait.
    """

    events: tuple[Event, ...]
    answers: Mapping[str, Answer]
    states: Mapping[int, Sequence[Mapping[str, Any]]]
    measured: Mapping[str, Any]

    def __repr__(self) -> str:
        return "Resumed()"


def with_earlier(measured: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measured columns of a whole reply, of which an earlier run has measured the first part."""
    columns = dict(measured)
    for name in _ADDED:
        if earlier.get(name) is not None:
            columns[name] = earlier[name] + (columns.get(name) or 0)
    for name in _KEPT:
        columns[name] = earlier.get(name) if earlier.get(name) is not None else columns.get(name)
    return columns
