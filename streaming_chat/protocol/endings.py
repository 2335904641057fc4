"""How a reply ends: its status, and the reason. No I/O, no Django.

status       end_reason
streaming                    a provider is writing it
waiting                      it goes on once a person has answered
completed    stop, length, content_filter, tool_calls, length_cap, max_steps
stopped      user, staff, disconnect, approval_expired
interrupted  shutdown, lease_expired, provider_…, not_saved, internal: something was received, then something broke
failed                       there is no answer; error_code says why
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .events import REASONING, Event, has_answer, is_blank
from .json_objects import object_in

STREAMING = "streaming"
WAITING = "waiting"
COMPLETED = "completed"
STOPPED = "stopped"
INTERRUPTED = "interrupted"
FAILED = "failed"

# Of a reply that has not ended.
LIVE = frozenset({STREAMING, WAITING})
# Endings that the provider did not mean.
EARLY = frozenset({STOPPED, INTERRUPTED, FAILED})

_INTERRUPTIONS = (
    "shutdown",
    "lease_expired",
    "provider_stall",
    "provider_truncated",
    "provider_error",
    "provider_protocol",
    "not_saved",
    "internal",
)
END_REASONS = (
    *("stop", "length", "content_filter", "tool_calls", "length_cap", "max_steps"),
    *("user", "staff", "disconnect", "approval_expired"),
    *_INTERRUPTIONS,
)


@dataclass(frozen=True, slots=True)
class Ending:
    """One ending of a reply.

    error_code: a key of exceptions.ERRORS, "" for none. ref: finds the error in the log. cut_position: where the reply
    ends for its owner, when a stop said so.
    """

    status: str
    end_reason: str = ""
    error_code: str = ""
    ref: str = ""
    cut_position: int | None = None


def completed(end_reason: str, *, received: bool = True) -> Ending:
    """Return the ending of a reply that its provider finished, or that has its greatest length; see `checked`.

    received: False if the provider is known to have sent nothing, which is no reply unless a reason explains it.
    """
    if end_reason == "stop" and not received:
        return Ending(FAILED, error_code="empty")
    return Ending(COMPLETED, end_reason)


def checked(ending: Ending, received: Sequence[Event], *, reasoning_tokens: int | None = None) -> Ending:
    """Return how a reply with this content really ended: a completed one without an answer has failed.

    A reply that a content filter emptied keeps that reason. reasoning_tokens: some providers count them and hide the text.
    """
    if ending.status != COMPLETED or ending.end_reason == "content_filter" or has_answer(received):
        return ending
    has_reasoned = bool(reasoning_tokens) or any(event.kind == REASONING for event in received)
    return Ending(FAILED, error_code="reasoning_only" if has_reasoned else "empty")


def stopped(by: str, position: int | None = None) -> Ending:
    """Return the ending of a reply that someone ended, at the position they were shown if they said it."""
    return Ending(STOPPED, by, cut_position=position)


def broken(code: str, *, received: bool, ref: str = "") -> Ending:
    """Return the ending of a reply that broke: what was received is kept."""
    if not received:
        return Ending(FAILED, error_code=code, ref=ref)
    # A provider's refusals (auth, rate, …) are no reasons, but the error is told as it is.
    return Ending(INTERRUPTED, code if code in _INTERRUPTIONS else "provider_error", code, ref)


def can_continue(ending: Ending, text: str) -> bool:
    """Return whether a reply was cut off after some text, so that a provider can continue it."""
    is_cut_off = ending.status in (STOPPED, INTERRUPTED) or ending.end_reason in ("length", "length_cap")
    return is_cut_off and not is_blank(text)


def output_of(status: str, text: str, output_error: str) -> dict[str, Any] | None:
    """Return the object that a reply consists of; None unless it is completed and its object is valid."""
    if status != COMPLETED or output_error:
        return None
    try:
        return object_in(text)
    except ValueError:
        # The text was redacted or erased.
        return None


def payload(
    ending: Ending, text: str, usage: dict[str, Any] | None, output_error: str | None = None, model: str = ""
) -> dict[str, Any]:
    """Return what the stream's `end` event says: length counts code points of the whole text, sha256 is of its UTF-8.

    output_error: the code of what is wrong with the object that the reply had to be; None if it was to be a text.
    model: that answered, which may be another one than the start event has named; "" if it is not known.
    """
    said = {
        "status": ending.status,
        "end_reason": ending.end_reason,
        "error_code": ending.error_code,
        "ref": ending.ref,
        # A model that is told to go on within an object begins another one.
        "can_continue": output_error is None and can_continue(ending, text),
        "usage": usage,
        "length": len(text),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    if output_error is not None and ending.status == COMPLETED:
        said |= {"output": output_of(ending.status, text, output_error), "output_error": output_error}
    return said | ({"model": model} if model else {})
