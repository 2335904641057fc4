"""Each reviewer's own verdicts and labels for a conversation and its messages, and corrected answers for its replies."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now

from streaming_chat.alerts import outbox
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Message, Verdict

from .rows import lock, message_rows, require_not_erased

MAX_CORRECTION_CHARS = 20_000


@dataclass(frozen=True)
class VerdictChange:
    """What a reviewer changes of a verdict; None leaves it as it is. A verdict without any of it is deleted.

    Raises ValueError for a value or labels that do not exist, and for a correction that is too long.
    """

    value: str | None = None
    labels: Sequence[str] | None = None
    correction: str | None = None

    def __post_init__(self) -> None:
        if self.value and self.value not in Verdict.Value.values:
            raise ValueError(f"verdict must be one of {', '.join(Verdict.Value.values)}, got {self.value!r}.")
        unknown = set(self.labels or ()) - set(conf.STREAMING_CHAT_REVIEW_LABELS)
        if unknown:
            raise ValueError(f"labels must be in STREAMING_CHAT_REVIEW_LABELS, got {sorted(unknown)}.")
        if (chars := len(self.correction or "")) > MAX_CORRECTION_CHARS:
            raise ValueError(f"a correction must have at most {MAX_CORRECTION_CHARS} characters, got {chars}.")


# By message; None is the conversation as a whole.
VerdictChanges = Mapping[uuid.UUID | None, VerdictChange]


def save_verdicts(pk: uuid.UUID, by: Any, verdicts: VerdictChanges) -> None:
    """Save one reviewer's verdicts on a conversation and its messages. Verdicts that are not named stay.

    Raises ValueError for messages of other conversations and corrections of anything but replies, Conversation.DoesNotExist
    also for a correction in an erased conversation.
    """
    if verdicts:
        write_transaction(lambda: _save_verdicts(pk, by, verdicts))


def _save_verdicts(pk: uuid.UUID, by: Any, verdicts: VerdictChanges) -> None:
    lock(pk)
    _require_messages(pk, verdicts)
    saved = Verdict.objects.using(live_database()).filter(conversation_id=pk, by=by)
    mine = {verdict.message_id: verdict for verdict in saved}
    for message, change in verdicts.items():
        _apply(change, mine.get(message) or Verdict(conversation_id=pk, message_id=message, by=by))


def _require_messages(pk: uuid.UUID, verdicts: VerdictChanges) -> None:
    messages = {message for message in verdicts if message}
    roles = dict(message_rows(pk).filter(pk__in=messages).values_list("pk", "role")) if messages else {}
    if len(roles) != len(messages):
        raise ValueError(f"verdicts must be on messages of conversation {pk}.")
    corrected = {message for message, change in verdicts.items() if change.correction}
    if any(message is None or roles[message] != Message.Role.ASSISTANT for message in corrected):
        raise ValueError(f"corrections must be of replies of conversation {pk}.")
    if corrected:
        require_not_erased(pk)


def _apply(change: VerdictChange, verdict: Verdict) -> None:
    using = live_database()
    value = verdict.value if change.value is None else change.value
    labels = verdict.labels if change.labels is None else list(change.labels)
    correction = verdict.correction if change.correction is None else change.correction
    if (verdict.value, verdict.labels, verdict.correction) == (value, labels, correction):
        return
    outbox.labels_given(set(labels) - set(verdict.labels), verdict.conversation_id, verdict.message_id)
    verdict.value, verdict.labels, verdict.correction, verdict.updated_at = value, labels, correction, Now()
    if value or labels or correction:
        verdict.save(using=using)
    elif verdict.pk:
        verdict.delete(using=using)
