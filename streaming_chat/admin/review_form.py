"""The form of the review bar, with the verdict, labels and corrected answer of each message."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.http import QueryDict

from streaming_chat.protocol.storable_text import storable
from streaming_chat.review import reviews
from streaming_chat.review.reopening import reopen
from streaming_chat.review.reviews import Snapshot
from streaming_chat.review.verdicts import VerdictChange

_ACTIONS = ("save", "done", "done_next", "next", "release", "reopen")
# A field that begins with one of these ends with the id of the reply. The base is the correction as the page showed it.
_CORRECTION, _BASE = "correction-", "base-"


@dataclass(frozen=True)
class ReviewForm:
    """The form of the review bar.

    notes: None if unchanged. pressed: the message beside which a verdict button was pressed.
    """

    action: str
    snapshot: Snapshot
    notes: str | None
    verdicts: dict[uuid.UUID | None, VerdictChange]
    pressed: uuid.UUID | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the review is to be finished."""
        return self.action in ("done", "done_next")

    @property
    def finished_version(self) -> int | None:
        """The version of the review after it was finished; None if it is not to be."""
        return self.snapshot.version + 1 if self.is_finished else None

    @classmethod
    def parse(cls, data: QueryDict) -> ReviewForm:
        """Return the form. Raises ValueError for data that the app's own pages never send."""
        notes = clean_text(data, "notes")
        if len(notes) > reviews.MAX_NOTES_CHARS:
            raise ValueError(f"notes must have at most {reviews.MAX_NOTES_CHARS} characters, got {len(notes)}.")
        action = data.get("action", "save")
        if action not in _ACTIONS:
            raise ValueError(f"action must be one of {', '.join(_ACTIONS)}, got {action!r:.60}.")
        pressed, verdicts = _parse_verdicts(data)
        notes_changed = notes != clean_text(data, "base")
        return cls(action, _parse_snapshot(data), notes if notes_changed else None, verdicts, pressed)

    def save(self, pk: uuid.UUID, by: Any) -> bool:
        """Save the form; False if the action could not be performed, since something else came before it.

        Raises StaleReviewError, and ValueError for messages of other conversations.
        """
        arguments = (pk, by, self.snapshot, self.notes, self.verdicts)
        if self.is_finished:
            return reviews.finish(*arguments)
        if self.action in ("next", "release"):
            return reviews.leave(*arguments)
        reviews.save(*arguments)
        return self.action != "reopen" or reopen(pk, by, takes=True)


def _parse_snapshot(data: QueryDict) -> Snapshot:
    last_activity = datetime.fromisoformat(data.get("activity", ""))
    if last_activity.tzinfo is None:
        raise ValueError("activity must have a time zone.")
    through = data.get("through")
    return Snapshot(
        version=int(data.get("version", "")),
        last_activity=last_activity,
        through=uuid.UUID(through) if through else None,
        needs_attention=bool(data.get("needs_attention")),
    )


def _parse_verdicts(data: QueryDict) -> tuple[uuid.UUID | None, dict[uuid.UUID | None, VerdictChange]]:
    """Return the message whose verdict button was pressed, and the changes of all verdicts by message."""
    verdicts: dict[uuid.UUID | None, VerdictChange] = {}
    if "verdict" in data:
        verdicts[None] = VerdictChange(data.get("verdict"), data.getlist("labels"))
    for message in data.getlist("message"):
        verdicts[uuid.UUID(message)] = VerdictChange(labels=data.getlist(f"labels-{message}"))
    for pk, correction in _parse_corrections(data):
        verdicts[pk] = replace(verdicts.get(pk, VerdictChange()), correction=correction)
    if "mark" not in data:
        return None, verdicts
    text, _colon, value = data.get("mark", "").partition(":")
    pressed = uuid.UUID(text)
    verdicts[pressed] = replace(verdicts.get(pressed, VerdictChange()), value=value)
    return pressed, verdicts


def _parse_corrections(data: QueryDict) -> Iterator[tuple[uuid.UUID, str]]:
    """Yield the corrections that the reviewer has changed. The others may have been redacted since the page was opened."""
    for name in data:
        if name.startswith(_CORRECTION):
            reply, correction = name.removeprefix(_CORRECTION), clean_text(data, name)
            pk = uuid.UUID(reply)
            if correction != clean_text(data, _BASE + reply):
                yield pk, correction


def clean_text(data: QueryDict, name: str) -> str:
    """Return a text of a form without what browsers and the database change in it."""
    # Browsers send line breaks as CRLF.
    return storable(data.get(name, "").replace("\r\n", "\n").strip("\n"))
