"""Ids of events, `<message>/<position>`, from which a client continues a stream or at which it stops a reply."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest

from streaming_chat.exceptions import APIError

from . import parsing

# What position_of() takes.
EVENT_ID_SCHEMA = {"type": "string", "pattern": "^(([0-9a-f-]{36}/)?(end|[0-9]{1,9}))?$"}


def requested_position(request: HttpRequest, message_id: uuid.UUID) -> int | None:
    """Return the position that a request wants to read from, as `position_of`."""
    return position_of(request.headers.get("Last-Event-ID") or request.GET.get("after", ""), message_id)


def position_of(event_id: str, message_id: uuid.UUID) -> int | None:
    """Return the position that an event's id names, or its number alone; None for the ending, 0 for "".

    Raises APIError: 422 for a malformed id and one of another message.
    """
    if not event_id:
        return 0
    head, slash, number = event_id.rpartition("/")
    if slash and head != str(message_id):
        raise APIError(422, "invalid", fields={"position": f"Must be an id of message {message_id}."})
    if number == "end":
        return None
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise APIError(422, "invalid", fields={"position": "Must be an id, <message>/<number>."})
    return int(number)


@parsing.check(anyOf=[EVENT_ID_SCHEMA, {"type": "integer", "minimum": 0, "maximum": 999_999_999}])
def event_id(value: Any) -> str:
    """Check an event's id or its number, and return it as position_of() takes it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("Must be an event's id or its number.")
    return str(value)
