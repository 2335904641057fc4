"""The calls of the site's tools in a reply's events: which have a result, and what a call is told that has none. No I/O.

    step         {"number": 1}                            a call of the provider begins; the first one is 1
    tool_call    {"id", "name", "arguments", "complete"}  arguments are JSON text
    tool_result  {"id", "status", "output", "ms"}         output is what the model is told, whatever the status
    approval     {"calls": [{"id", "runs", "editable"}], "expires"}

Only a reply that begins a `step` has results: the tools of a client, and the ones that the provider runs itself ("runs":
"provider"), are called without. No call of the site's is left without a result once its reply has ended, since every
provider refuses a conversation with such a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .events import APPROVAL, STEP, TOOL_CALL, TOOL_RESULT, Event

# The status of a result.
OK = "ok"
ERROR = "error"
DENIED = "denied"
CANCELLED = "cancelled"
UNKNOWN = "unknown"
RESULT_STATUSES = (OK, ERROR, DENIED, CANCELLED, UNKNOWN)
# What only the stream needs: in files and on pages, these say nothing.
WITHOUT_TEXT = frozenset({STEP, APPROVAL})

# For the model, in English whatever the language of the chat.
NOT_RUN = "This call was not run, because the reply was stopped before."
STOPPED_WHILE_RUNNING = "The reply was stopped while this call ran. It may have had its effect."
CUT_OFF = "This call was not run, because the reply was cut off."
TOO_MANY_STEPS = "This call was not run, because the reply had reached its limit of steps."
LOST = (
    "The server stopped while this call ran. It is not known whether the call had its effect."
    " Find that out before you call the tool again."
)
NOT_ALLOWED = "The user did not allow this call."
NOT_ALLOWED_IN_TIME = "Nobody allowed this call in time."


def result(call_id: str, status: str, output: str, ms: int = 0) -> Event:
    """Return the event of a result. ms: how long the tool ran, in milliseconds; 0 if it did not."""
    return Event(TOOL_RESULT, {"id": call_id, "status": status, "output": output, "ms": ms})


def denial(call_id: str, reason: str = "") -> Event:
    """Return the result of a call that a person did not allow. reason: in the person's words, "" for none."""
    return result(call_id, DENIED, f"{NOT_ALLOWED} The reason given: {reason}" if reason else NOT_ALLOWED)


def is_denied_by_person(payload: Mapping[str, Any]) -> bool:
    """Return whether a result says that a person did not allow the call, and not the site's permissions or policy."""
    return payload["status"] == DENIED and payload["output"].startswith((NOT_ALLOWED, NOT_ALLOWED_IN_TIME))


def approval(calls: Iterable[Mapping[str, Any]], expires: str) -> Event:
    """Return the event that says for which calls a reply waits. expires: an ISO 8601 time."""
    return Event(APPROVAL, {"calls": [dict(call) for call in calls], "expires": expires})


def is_of_site(call: Mapping[str, Any]) -> bool:
    """Return whether the site must give a call its result."""
    return call.get("runs") != "provider"


def open_calls(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the calls of the site's tools without a result, in their order."""
    found: dict[str, dict[str, Any]] = {}
    has_steps = False
    for kind, payload in events:
        if kind == STEP:
            has_steps = True
        elif kind == TOOL_CALL and has_steps and is_of_site(payload):
            found[payload["id"]] = payload
        elif kind == TOOL_RESULT:
            found.pop(payload["id"], None)
    return [*found.values()]


def without_tools_cut(events: Iterable[Event], cut: int | None, first: int = 0) -> int | None:
    """Return where a stop may cut a reply: never before a result, which later prompts and the owner must have.

    first: the position of the first event. None: not at all, since a call has no result yet.
    """
    if cut is None:
        return None
    events = list(events)
    if open_calls(events):
        return None
    for event in events:
        first += event.size
        if event.kind == TOOL_RESULT:
            cut = max(cut, first)
    return cut
