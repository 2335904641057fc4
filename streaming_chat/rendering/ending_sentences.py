"""How a reply ended, in words: for its owner and for staff. The only table of these words.

The scripts of the chat and of the transcript look them up in `owner_sentences` and `staff_sentences`, the plain page and the
transcript by the message.
"""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming_chat.exceptions import ENDING_CODES, ERRORS, error_text
from streaming_chat.models import Message, Status


class Outcome(NamedTuple):
    """The sentences for the owner ("" if it ended as most replies do) and for staff."""

    owner: str | Promise
    staff: str | Promise


_CUT_OFF = gettext_lazy("This reply was cut off because it reached the maximum length.")
_FILTERED = gettext_lazy("The provider's content filter ended the reply.")
_TOOL_CALL = gettext_lazy("The model ended the reply with a tool call.")
_EMPTY, _REASONING_ONLY = (ERRORS[code][0] for code in ("empty", "reasoning_only"))
# By status, and error code or else end reason.
_OUTCOMES: dict[tuple[str, str], Outcome] = {
    (Status.STREAMING, ""): Outcome(gettext_lazy("Being written…"), gettext_lazy("The reply is being written.")),
    (Status.WAITING, ""): Outcome(
        gettext_lazy("Waiting for an answer…"), gettext_lazy("The reply waits for a tool call to be answered.")
    ),
    (Status.COMPLETED, "stop"): Outcome("", gettext_lazy("The model finished the reply.")),
    (Status.COMPLETED, "length"): Outcome(_CUT_OFF, gettext_lazy("The reply was cut off at the model's token limit.")),
    (Status.COMPLETED, "length_cap"): Outcome(
        _CUT_OFF, gettext_lazy("The reply was cut off at this site's limit of length or time.")
    ),
    (Status.COMPLETED, "content_filter"): Outcome(_FILTERED, _FILTERED),
    (Status.COMPLETED, "tool_calls"): Outcome(_TOOL_CALL, _TOOL_CALL),
    (Status.COMPLETED, "max_steps"): Outcome(
        gettext_lazy("This reply ended because the model called tools too many times."),
        gettext_lazy("The reply ended at this site's limit of steps with tool calls."),
    ),
    (Status.STOPPED, "approval_expired"): Outcome(
        gettext_lazy("This reply ended because nobody answered in time."),
        gettext_lazy("The reply ended because nobody answered its tool calls in time."),
    ),
    (Status.STOPPED, "user"): Outcome(gettext_lazy("Stopped"), gettext_lazy("The owner stopped the reply.")),
    (Status.STOPPED, "staff"): Outcome(
        gettext_lazy("This reply was stopped by the staff of this site."), gettext_lazy("Staff stopped the reply.")
    ),
    (Status.STOPPED, "disconnect"): Outcome(
        gettext_lazy("Stopped because the connection was closed."),
        gettext_lazy("The reply was stopped because its owner disconnected."),
    ),
    (Status.FAILED, "empty"): Outcome(_EMPTY, _EMPTY),
    (Status.FAILED, "reasoning_only"): Outcome(_REASONING_ONLY, _REASONING_ONLY),
}
# By status alone; an error text follows.
_BROKEN: dict[str, Outcome] = {
    Status.INTERRUPTED: Outcome(
        gettext_lazy("The reply was interrupted."),
        gettext_lazy("The reply was interrupted. What had arrived was kept."),
    ),
    Status.FAILED: Outcome(
        gettext_lazy("No reply was received."), gettext_lazy("The reply failed before anything arrived.")
    ),
}


def describe_to_owner(message: Message) -> str:
    """Return how a reply ended, for its owner; "" if it ended as most replies do."""
    return str(_outcome(message.status, message.error_code or message.end_reason).owner)


def describe_to_staff(message: Message) -> str:
    """Return how a reply ended, for staff. An outcome of a newer version is described by its status."""
    sentence = str(_outcome(message.status, message.error_code or message.end_reason).staff)
    return sentence or _status_sentence(message.get_status_display())


def owner_sentences() -> dict[str, str]:
    """Return the sentences for the owner by `status.reason`, with an error's code as the reason, and by status alone."""
    return {key: str(outcome.owner) for key, outcome in _all_outcomes().items()}


def staff_sentences() -> dict[str, str]:
    """Return the sentences for staff by `status.reason`, with an error's code as the reason, and by status alone."""
    by_status = {str(value): _status_sentence(str(label)) for value, label in Status.choices}
    return by_status | {key: str(outcome.staff) for key, outcome in _all_outcomes().items()}


def _status_sentence(status: str) -> str:
    return _("The reply is {status}.").format(status=status)


def _all_outcomes() -> dict[str, Outcome]:
    broken = [(status, code) for status in _BROKEN for code in ("", *ENDING_CODES)]
    return {f"{status}.{reason}".rstrip("."): _outcome(status, reason) for status, reason in [*_OUTCOMES, *broken]}


def _outcome(status: str, reason: str) -> Outcome:
    if (found := _OUTCOMES.get((status, reason))) or (broken := _BROKEN.get(status)) is None:
        return found or Outcome("", "")
    error = error_text(reason) if reason in ERRORS else ""
    return Outcome(*(f"{sentence} {error}".rstrip() for sentence in broken))
