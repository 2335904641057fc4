"""Redacting passages: each is replaced by "[redacted]" wherever it is, in one message or in a whole conversation.

Replaced: in texts, reasoning, tool calls with their results and answers, and sources, in the title, reviewers' notes,
comments and pages, and for a whole conversation in its system prompt and metadata. What cannot be changed in part is removed
from a changed message, as by redactions.py: saved events, the provider's state, the journal, Redis, digests. docs/privacy.md
says what remains.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from streaming_chat.chats.titles import title_of
from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import SavedText
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import AccessRecord, Conversation, Message, ModelTitle, SearchEntry, ToolCall
from streaming_chat.search import backends, entries
from streaming_chat.search.tokenizer import words

from . import copies
from .audit import record
from .occurrences import (
    Scope,
    access_records,
    calls_in,
    comments_in,
    corrections_in,
    groups,
    is_live,
    notes_in,
    occurrences,
    reviews_of,
    searches_about,
)
from .passages import REDACTED, find_in, redacted_call, redacted_columns
from .redactions import StillLiveError, begins_with


class ChangedMessage(NamedTuple):
    """What is kept of a message that has changed: without its text, since a whole conversation may be long."""

    message: uuid.UUID
    depth: int
    begins_with_title: bool


def redact_passages(scope: Scope, by: Any, *, reason: str, terms: bool = False) -> int:
    """Redact the passages; return how many messages changed. It may be called again. Blocking.

    by: as in `audit.record`. reason: why, for the access record. terms: also clear the terms of searches that occur in a
    passage, or in which one occurs.
    Raises Conversation.DoesNotExist, Message.DoesNotExist, StillLiveError.
    """
    using = live_database()
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    backends.overwrite_deleted(using)
    return write_transaction(partial(_redact, scope, by, reason=reason, terms=terms), using=using)


def _redact(scope: Scope, by: Any, *, reason: str, terms: bool) -> int:
    using = live_database()
    conversations = Conversation.objects.using(using).filter(pk=scope.conversation)
    # The write is the lock (see models/conversations.py).
    conversations.update(last_activity=F("last_activity"))
    conversation = conversations.get()
    if is_live(scope):
        raise StillLiveError(f"a reply of conversation {scope.conversation} is being written.")
    if terms and (about := searches_about({each.passage for each in occurrences(scope)}, scope)):
        access_records().filter(pk__in=about).update(terms=REDACTED)
    said_by = record(
        AccessRecord.Kind.REDACT_PART,
        by,
        conversation=scope.conversation,
        message=scope.message,
        # It may quote what is removed.
        reason=scope.passages.replace(reason)[:255],
    )
    changed = [one for group in groups(scope) for one in _redact_group(group, conversation, scope, said_by.by_name)]
    access_records().filter(pk=said_by.pk).update(count=len(changed))
    copies.remove([one.message for one in changed], using)
    _redact_calls(scope)
    _redact_title(conversation, changed, scope)
    _redact_beside(scope)
    _redact_conversation(conversation, scope)
    # Once for all entries: on SQLite it takes seconds with many messages.
    transaction.on_commit(partial(entries.purge, using), using=using)
    return len(changed)


def _redact_group(
    group: Sequence[Message], conversation: Conversation, scope: Scope, by_name: str
) -> Iterator[ChangedMessage]:
    """Redact these messages, and yield which of them have changed."""
    for message, spans in zip(group, find_in(group, scope.passages), strict=True):
        if columns := redacted_columns(message, spans, scope.passages):
            _save(message, columns, by_name)
            yield ChangedMessage(message.pk, message.depth, begins_with(message, conversation.title))
        if message.model and scope.passages.spans(message.model):
            copies.remove_chosen_models(Message.objects.using(live_database()).filter(pk=message.pk))


def _save(message: Message, columns: dict[str, Any], by_name: str) -> None:
    using = live_database()
    entries.remove([message.pk], using, purge_after_commit=False)
    Message.objects.using(using).filter(pk=message.pk).update(
        **columns,
        send_key=None,
        body_digest="",
        history_digest="",
        redacted_at=Now(),
        redacted_by=by_name,
        is_partly_redacted=True,
    )
    entries.add([SavedText(message.conversation_id, message.pk, message.is_reply, columns["text"])], using)


def _redact_calls(scope: Scope) -> None:
    """Replace the passages in the rows of tool calls, also in the answers of persons, which no message has."""
    for call in calls_in(scope):
        if columns := redacted_call(call, scope.passages):
            ToolCall.objects.using(live_database()).filter(pk=call.pk).update(**columns)


def _redact_title(conversation: Conversation, changed: Sequence[ChangedMessage], scope: Scope) -> None:
    """Replace the passages in the title. One that was made from a changed message is made again, or goes."""
    if not conversation.title:
        return
    using = live_database()
    title = scope.passages.replace(conversation.title)
    by_model = ModelTitle.objects.using(using).filter(pk=conversation.pk, is_in_use=True)
    if origin := next((one for one in changed if one.begins_with_title), None):
        texts = Message.objects.using(using).filter(pk=origin.message).values_list("text", flat=True)
        title = title_of(texts.get())
    elif any(one.depth <= 1 for one in changed) and by_model.exists():
        # A model may have put it in other words.
        title = ""
        by_model.update(is_in_use=False)
    if title == conversation.title:
        return
    own_entry = SearchEntry.objects.using(using).filter(conversation=conversation.pk, message=None).exists()
    entries.remove([], using, titles_of=[conversation.pk], purge_after_commit=False)
    Conversation.objects.using(using).filter(pk=conversation.pk).update(title=title)
    if own_entry and title:
        entries.add([SavedText(conversation.pk, None, False, title)], using)


def _redact_beside(scope: Scope) -> None:
    """Replace the passages in comments, notes with their history, and corrected answers."""
    for feedback in comments_in(scope):
        replaced = scope.passages.replace(feedback.comment)
        if replaced != feedback.comment:
            comments_in(scope).filter(pk=feedback.pk).update(comment=replaced)
    for review in reviews_of(scope):
        replaced = scope.passages.replace(review.notes)
        if replaced != review.notes:
            # A reviewer whose form has the old notes must not save them again.
            reviews_of(scope).filter(pk=review.pk).update(notes=replaced, version=F("version") + 1)
    for version in notes_in(scope):
        replaced = scope.passages.replace(version.text)
        if replaced != version.text:
            notes_in(scope).filter(pk=version.pk).update(text=replaced, words=words(replaced))
    for verdict in corrections_in(scope):
        corrections_in(scope).filter(pk=verdict.pk).update(correction=scope.passages.replace(verdict.correction))


def _redact_conversation(conversation: Conversation, scope: Scope) -> None:
    rows = Conversation.objects.using(live_database()).filter(pk=conversation.pk)
    if scope.message is None:
        rows.update(
            system_prompt=scope.passages.replace(conversation.system_prompt),
            metadata=scope.passages.replace_in(conversation.metadata),
        )
    if scope.passages.spans(conversation.model):
        copies.remove_chosen_models(rows)
