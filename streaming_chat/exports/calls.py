"""The calls of the site's tools in an export: arguments, results, how long they took, and who allowed them."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F

from streaming_chat.models import ToolCall

Call = dict[str, Any]

_FIELDS = (
    "message_id", "call_id", "step", "name", "arguments", "status", "started_at", "ended_at", "ms", "output", "answer",
    "answered_at",
)  # fmt: skip


def read_calls(message_ids: Sequence[uuid.UUID], using: str) -> dict[uuid.UUID, list[Call]]:
    """Return the calls of these messages, by message, in their order. One query."""
    rows = ToolCall.objects.using(using).filter(message_id__in=message_ids).order_by("message_id", "pk")
    calls = defaultdict(list)
    for row in rows.values(*_FIELDS, answered_by=F(f"by__{get_user_model().USERNAME_FIELD}")):
        row["call"] = row.pop("call_id")
        calls[row.pop("message_id")].append(row)
    return calls


def without_staff(calls: Sequence[Call], owner: str | None) -> list[Call]:
    """Return calls for an export that the owner gets: it names nobody else. owner: their username, None for a visitor."""
    return [{**call, "answered_by": call["answered_by"] if call["answered_by"] == owner else None} for call in calls]


def described(call: Call) -> str:
    """Return what became of a call, in one line without its arguments and its result."""
    facts = [call["name"] or "unknown tool", call["status"]]
    if call["started_at"] is not None and call["ms"] is not None:
        facts.append(f"{call['ms']} ms")
    if call["answered_at"] is not None:
        facts.append(f"{_verb(call['answer'] or {})} by {call['answered_by'] or 'a visitor or a deleted account'}")
        facts.append(call["answered_at"].isoformat())
    return ", ".join(facts)


def _verb(answer: dict[str, Any]) -> str:
    if "approved" not in answer or "output" in answer:
        return "answered"
    return "allowed" if answer["approved"] else "not allowed"
