"""The messages of a conversation that need attention, on all of its branches. No text is loaded."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Exists, OuterRef
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from streaming_chat.chats.tree import Tree
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import Feedback, Message, Status


class Row(NamedTuple):
    """A message of the tree. is_bad: a person rated it bad."""

    id: uuid.UUID
    parent: uuid.UUID | None
    request_id: str
    ref: str
    status: str
    created_at: datetime
    is_bad: bool


@dataclass(frozen=True)
class Flag:
    """A message that needs attention.

    reason: in words. index, count: its place among the versions of the message. is_only_day: whether all messages of the
    conversation are of the same day.
    """

    message: uuid.UUID
    reason: str
    index: int
    count: int
    created_at: datetime
    is_only_day: bool

    @property
    def label(self) -> str:
        """Why, which version and when: "rated bad, version 1 of 2, 14:03". The date is left out if it says nothing."""
        when = localtime(self.created_at)
        time = date_format(when, "TIME_FORMAT" if self.is_only_day else "SHORT_DATETIME_FORMAT")
        if self.count == 1:
            return _("{reason}, {time}").format(reason=self.reason, time=time)
        text = _("{reason}, version {index} of {count}, {time}")
        return text.format(reason=self.reason, index=self.index, count=self.count, time=time)


def read_rows(conversation: uuid.UUID) -> list[Row]:
    """Return all messages of a conversation, oldest first."""
    messages = Message.objects.using(live_database()).filter(conversation_id=conversation)
    is_bad = Exists(Feedback.objects.filter(message=OuterRef("pk"), value__lt=0))
    columns = ("pk", "parent_id", "request_id", "ref", "status", "created_at", is_bad)
    return [Row(*values) for values in messages.values_list(*columns)]


def find_flags(rows: Sequence[Row], tree: Tree, owners_branch: list[uuid.UUID]) -> list[Flag]:
    """Return the messages that need attention.

    rows: all messages, oldest first. Messages with a bad rating come first, then the branch that the owner sees.
    """
    reasons = {row.id: reason for row in rows if (reason := _reason(row))}
    seen = set(owners_branch)
    flagged = [row for row in rows if row.id in reasons]
    flagged.sort(key=lambda row: (not row.is_bad, row.id not in seen))
    places = _places(tree)
    is_only_day = bool(rows) and _day(rows[0]) == _day(rows[-1])
    return [Flag(row.id, reasons[row.id], *places[row.id], row.created_at, is_only_day) for row in flagged]


def _reason(row: Row) -> str:
    """Return why a message needs attention, in words; "" if nothing of it is in STREAMING_CHAT_REVIEW_REASONS."""
    counting = conf.STREAMING_CHAT_REVIEW_REASONS
    if row.is_bad and "rated_bad" in counting:
        return _("rated bad")
    words: dict[str, str] = {
        Status.FAILED: _("failed"),
        Status.INTERRUPTED: _("interrupted"),
        Status.STOPPED: _("stopped early"),
    }
    return words.get(row.status, "") if row.status in counting else ""


def _places(tree: Tree) -> dict[uuid.UUID, tuple[int, int]]:
    """Return the place of each message among its siblings, from 1, and their number."""
    return {
        message: (index, len(siblings))
        for siblings in tree.children.values()
        for index, message in enumerate(siblings, start=1)
    }


def _day(row: Row) -> object:
    return localtime(row.created_at).date()
