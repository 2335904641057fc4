"""Reads conversations and their messages for an export, a few at a time: their number costs no memory.

Field names are those of the models, in English for every user. A live reply has no text yet.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F, QuerySet

from streaming_chat.db.alias import live_database
from streaming_chat.db.paging import pages
from streaming_chat.models import Conversation, Feedback, Message
from streaming_chat.protocol.storable_text import storable_value

from .calls import read_calls

# Conversations per page. Their messages are read in groups of this many, and of this many units of received text.
CONVERSATIONS = 50
MESSAGES = 100
UNITS = 50_000
# A tool call is one unit, and so is its result, however long they are.
_UNITS_OF_CALLS = 20_000

_CONVERSATION_FIELDS = (
    "id", "owner_key", "title", "system_prompt", "model", "metadata", "head_id", "last_status", "message_count",
    "input_tokens", "output_tokens", "cost", "created_at", "last_activity", "deleted_at", "erased_at",
)  # fmt: skip
# Without send_key and body_digest, which only serve to recognise a repeated request.
_MESSAGE_FIELDS = (
    "id", "conversation_id", "parent_id", "continues_id", "continued_at", "role", "origin", "status", "end_reason",
    "error_code", "ref", "provider", "model", "effort", "output_name", "output_error", "request_id", "finish_reason",
    "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "tokens_estimated",
    "cost", "first_event_ms", "reasoning_ms", "duration_ms", "omitted_messages", "created_at", "ended_at", "redacted_at",
    "position", "cut_position", "text", "parts", "page_context",
)  # fmt: skip

Row = dict[str, Any]


def size_of(position: int, *, has_more_than_text: bool) -> int:
    """Return about how much a message has to read, in units."""
    return position + _UNITS_OF_CALLS * has_more_than_text


def conversation_pages(conversations: QuerySet[Conversation], after: uuid.UUID | None = None) -> Iterator[list[Row]]:
    """Yield the conversations in the order of their ids, which is that of their creation."""
    name = F(f"owner__{get_user_model().USERNAME_FIELD}")
    rows = conversations.using(live_database()).values(*_CONVERSATION_FIELDS, owner_name=name)
    for page in pages(rows, CONVERSATIONS, key="id", after=after):
        for row in page:
            row["owner"] = row.pop("owner_name")
            row["head"] = row.pop("head_id")
            # The site's own code may have set half a character (a lone surrogate), which a file cannot have.
            row["metadata"] = storable_value(row["metadata"])
        yield page


class MessageReader:
    """Reads messages in the given order, a few at a time.

    sizes: units of text by id: a hundred of the longest possible replies would take gigabytes.
    """

    def __init__(self, ids: Sequence[uuid.UUID], sizes: dict[uuid.UUID, int], using: str) -> None:
        self._ids = iter(ids)
        self._next = next(self._ids, None)
        self._sizes = sizes
        self._using = using
        self._rows: dict[uuid.UUID, Row] = {}
        self._group: set[uuid.UUID] = set()

    def has_to_read(self, pk: uuid.UUID) -> bool:
        """Return whether `take` will query the database."""
        return pk not in self._group

    def take(self, pk: uuid.UUID) -> Row | None:
        """Return a message, once; None if it was deleted in between."""
        if self.has_to_read(pk):
            self._read_group()
        return self._rows.pop(pk, None)

    def _read_group(self) -> None:
        group: list[uuid.UUID] = []
        units = 0
        while self._next is not None and len(group) < MESSAGES and (units < UNITS or not group):
            group.append(self._next)
            units += self._sizes[self._next]
            self._next = next(self._ids, None)
        self._group = set(group)
        self._rows = {row["id"]: row for row in _read_messages(group, self._using)}


def _read_messages(ids: Sequence[uuid.UUID], using: str) -> Iterator[Row]:
    """Yield messages with their feedback and their tool calls, in any order. Three queries."""
    feedback, calls = _read_feedback(ids, using), read_calls(ids, using)
    for row in Message.objects.using(using).filter(pk__in=ids).order_by().values(*_MESSAGE_FIELDS):
        row["conversation"] = row.pop("conversation_id")
        row["parent"] = row.pop("parent_id")
        row["continues"] = row.pop("continues_id")
        row["feedback"] = feedback.get(row["id"], [])
        row["tool_calls"] = calls.get(row["id"], [])
        yield row


def _read_feedback(ids: Sequence[uuid.UUID], using: str) -> dict[uuid.UUID, list[Row]]:
    name = f"by__{get_user_model().USERNAME_FIELD}"
    rows = Feedback.objects.using(using).filter(message_id__in=ids).order_by("created_at", "pk")
    feedback = defaultdict(list)
    for message, by, value, comment, at in rows.values_list("message_id", name, "value", "comment", "created_at"):
        feedback[message].append({"by": by, "value": value, "comment": comment, "created_at": at})
    return feedback


# JSON allows them in a string; Python's splitlines() and JavaScript before 2019 end a line at them.
_LINE_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def to_json(value: Row) -> str:
    """Return a row as JSON on one line, for every reader's idea of a line."""
    return json.dumps(value, ensure_ascii=False, default=to_text).translate(_LINE_BREAKS)


def to_text(value: Any) -> str:
    """Return a value that JSON does not have."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        # Not a float, so that sums of costs are exact.
        return f"{value:f}"
    return str(value)
