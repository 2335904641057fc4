"""How a reply ended, in words: for its owner and for staff. The only table of these words."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.models import Message, Status

STOPPED = gettext_lazy("Stopped")
INTERRUPTED = gettext_lazy("The reply was interrupted.")
FAILED = gettext_lazy("No reply was received.")


class Outcome(NamedTuple):
    """The sentences for the owner ("" if it ended as most replies do) and for staff."""

    owner: str | Promise
    staff: str | Promise


_CUT_OFF = gettext_lazy("This reply was cut off because it reached the maximum length.")
_FILTERED = gettext_lazy("The provider's content filter ended the reply.")
_TOOL_CALL = gettext_lazy("The model ended the reply with a tool call.")
# By status and end reason.
_OUTCOMES: dict[tuple[str, str], Outcome] = {
    (Status.STREAMING, ""): Outcome(gettext_lazy("Being written…"), gettext_lazy("The reply is being written.")),
    (Status.COMPLETED, "stop"): Outcome("", gettext_lazy("The model finished the reply.")),
    (Status.COMPLETED, "length"): Outcome(_CUT_OFF, gettext_lazy("The reply was cut off at the model's token limit.")),
    (Status.COMPLETED, "length_cap"): Outcome(
        _CUT_OFF, gettext_lazy("The reply was cut off at this site's limit of length or time.")
    ),
    (Status.COMPLETED, "content_filter"): Outcome(_FILTERED, _FILTERED),
    (Status.COMPLETED, "tool_calls"): Outcome(_TOOL_CALL, _TOOL_CALL),
    (Status.STOPPED, "user"): Outcome(STOPPED, gettext_lazy("The owner stopped the reply.")),
    (Status.STOPPED, "staff"): Outcome(STOPPED, gettext_lazy("Staff stopped the reply.")),
    (Status.STOPPED, "disconnect"): Outcome(
        gettext_lazy("Stopped because the connection was closed."),
        gettext_lazy("The reply was stopped because its owner disconnected."),
    ),
}
# By status alone; an error text follows.
_BROKEN: dict[str, Outcome] = {
    Status.INTERRUPTED: Outcome(INTERRUPTED, gettext_lazy("The reply was interrupted. What had arrived was kept.")),
    Status.FAILED: Outcome(FAILED, gettext_lazy("The reply failed before anything arrived.")),
}


def describe_to_owner(message: Message) -> str:
    """Return how a reply ended, for its owner; "" if it ended as most replies do."""
    if outcome := _OUTCOMES.get((message.status, message.end_reason)):
        return str(outcome.owner)
    if outcome := _BROKEN.get(message.status):
        return f"{outcome.owner} {_error(message)}".rstrip()
    return str(STOPPED) if message.status == Status.STOPPED else ""


def describe_to_staff(message: Message) -> str:
    """Return how a reply ended, for staff. An outcome of a newer version is described by its status."""
    if outcome := _OUTCOMES.get((message.status, message.end_reason)):
        return str(outcome.staff)
    if outcome := _BROKEN.get(message.status):
        return f"{outcome.staff} {_error(message)}".rstrip()
    return _("The reply is {status}.").format(status=message.get_status_display())


def _error(message: Message) -> str:
    code = message.error_code or message.end_reason
    return error_text(code) if code in ERRORS else ""
