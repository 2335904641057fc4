"""What a transcript says of the calls of the site's tools: which, what became of them, how long they took, who allowed them.

The arguments and results are parts of the reply (parts.py). Here, only the answers of persons are text, and the names that
a model may have invented.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from streaming_chat.db.alias import live_database
from streaming_chat.models import ToolCall
from streaming_chat.rendering.shown_json import shown_json

from .formats import milliseconds, short_time

# What is loaded only for users who may read.
TEXTS = ("arguments", "output", "answer")


@dataclass(frozen=True)
class CallLine:
    """A call as the page shows it. facts: what became of it. changed: the arguments with which a person has allowed it.

    answerable: the id of the call, if it waits for an answer.
    """

    name: str = field(repr=False)
    status: str
    facts: list[str] = field(repr=False)
    changed: str = field(default="", repr=False)
    answerable: int | None = None


def read_calls(messages: Iterable[uuid.UUID], *, may_read: bool) -> dict[uuid.UUID, list[CallLine]]:
    """Return the calls of these replies, by reply, in their order. One query."""
    rows = ToolCall.objects.using(live_database()).filter(message_id__in=list(messages)).select_related("by")
    lines = defaultdict(list)
    for call in rows.defer(*(("arguments", "output") if may_read else TEXTS)).order_by("pk"):
        lines[call.message_id].append(_line(call, may_read=may_read))
    return lines


def _line(call: ToolCall, *, may_read: bool) -> CallLine:
    answer: dict[str, Any] = (call.answer or {}) if may_read else {}
    reason = answer.get("reason", "")
    was_denied = call.status == ToolCall.State.DENIED and answer.get("approved") is False
    facts = [
        # "denied by" says it, too.
        "" if was_denied else str(call.get_status_display()),
        milliseconds(call.ms) if call.started_at else "",
        answered_by(call, answer),
        _("reason: {reason}").format(reason=reason) if reason else "",
    ]
    return CallLine(
        name=(call.name if may_read else call.known_name) or _("unknown tool"),
        status=call.status,
        facts=[*filter(None, facts)],
        changed=shown_json(answer.get("arguments", "")),
        answerable=call.pk if call.status == ToolCall.State.WAITING else None,
    )


def answered_by(call: ToolCall, answer: dict[str, Any]) -> str:
    """Return who has answered, and when; "" if nobody has. answer: {} if it is not to be shown, or was removed."""
    if call.answered_at is None:
        return ""
    if not answer or "output" in answer:
        text = _("answered by {name}, {time}")
    else:
        text = _("allowed by {name}, {time}") if answer.get("approved") else _("denied by {name}, {time}")
    # Visitors have no account.
    name = call.by.get_username() if call.by else _("a visitor or a deleted account")
    return text.format(name=name, time=short_time(call.answered_at))
