"""Redacting a message: its text is replaced by "[redacted]", with who did it and when.

Removed: text, parts, the texts of tool calls, saved events, the digests of its request, comments on it, the conversation's
title if it is the beginning of the message, the name of a model that a client has chosen, its entry in the search index, its
corrected answers, the notes of reviewers on the conversation, and the copies of copies.py. A reply, its continuations and
the reply that it continues share their text, so they are redacted together. docs/privacy.md says what remains.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import router
from django.db.models import F, TextField, Value
from django.db.models.functions import Length, Now, Replace

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import AccessRecord, Conversation, Feedback, LiveReply, Message, ModelTitle
from streaming_chat.search import backends, entries

from . import copies
from .audit import record
from .passages import REDACTED, texts_in

# Shorter terms are common words.
MIN_TERM_CHARS = 4


class StillLiveError(Exception):
    """The reply is being written, so the text would come back."""


def redact(message_id: uuid.UUID, by: Any, *, terms: bool = False, reason: str = "") -> None:
    """Redact a message. It may be called again. Blocking.

    by: as in `audit.record`. terms: also clear the terms of later searches that occur in the message. reason: why, for the
    access record, which keeps it as it is: it must not quote the message.
    Raises Message.DoesNotExist, StillLiveError.
    """
    using = live_database()
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    backends.overwrite_deleted(using)
    conversation_id = Message.objects.using(using).values_list("conversation_id", flat=True).get(pk=message_id)
    write_transaction(partial(_redact, message_id, conversation_id, by, terms=terms, reason=reason), using=using)


def _redact(message_id: uuid.UUID, conversation_id: uuid.UUID, by: Any, *, terms: bool, reason: str) -> None:
    using = live_database()
    conversations = Conversation.objects.using(using).filter(pk=conversation_id)
    # The write is the lock (see models/conversations.py).
    conversations.update(last_activity=F("last_activity"))
    ids = sharing_text(message_id, conversation_id, using)
    messages = list(Message.objects.using(using).filter(pk__in=ids))
    if any(message.is_live for message in messages) or LiveReply.objects.using(using).filter(pk__in=ids).exists():
        raise StillLiveError(f"message {message_id}, or a reply that shares its text, is being written.")
    for message in messages:
        _redact_one(message, by, terms=terms, reason=reason)
    copies.remove_notes([conversation_id], using)


def sharing_text(message_id: uuid.UUID, conversation_id: uuid.UUID, using: str) -> set[uuid.UUID]:
    """Return the message and all replies that continue each other with it, since they share its text."""
    continuations = Message.objects.using(using).filter(conversation_id=conversation_id, continues__isnull=False)
    pairs = [{pk, continued} for pk, continued in continuations.values_list("pk", "continues_id")]
    found, count = {message_id}, 0
    while len(found) > count:
        count = len(found)
        found = found.union(*(pair for pair in pairs if pair & found))
    return found


def _redact_one(message: Message, by: Any, *, terms: bool, reason: str) -> None:
    using = live_database()
    message_id, conversation_id = message.pk, message.conversation_id
    conversations = Conversation.objects.using(using).filter(pk=conversation_id)
    access_record = record(
        AccessRecord.Kind.REDACT, by, conversation=conversation_id, message=message_id, reason=reason
    )
    if terms:
        searches_quoting_message(message).update(terms=REDACTED)
    title = conversations.values_list("title", flat=True).first()
    by_model = ModelTitle.objects.using(using).filter(pk=conversation_id, is_in_use=True)
    # A model has seen the first message and the replies to it.
    has_title = bool(title) and (begins_with(message, str(title)) or (message.depth <= 1 and by_model.exists()))
    # Before the row, since it makes SQLite overwrite what is removed after it.
    entries.remove([message_id], using, titles_of=[conversation_id] if has_title else [])
    copies.remove([message_id], using)
    copies.remove_calls([message_id], using)
    copies.remove_corrections([message_id], using)
    Message.objects.using(using).filter(pk=message_id).update(
        **_redacted_columns(message),
        page_context=None,
        send_key=None,
        body_digest="",
        history_digest="",
        redacted_at=Now(),
        redacted_by=access_record.by_name,
        is_partly_redacted=False,
    )
    copies.remove_chosen_models(Message.objects.using(using).filter(pk=message_id))
    copies.remove_chosen_models(conversations)
    Feedback.objects.using(using).filter(message_id=message_id).update(comment="")
    if has_title:
        conversations.update(title="")
        by_model.update(is_in_use=False)


def _redacted_columns(message: Message) -> dict[str, Any]:
    """Return the columns of the text: REDACTED, or nothing if there was nothing."""
    text = REDACTED if message.text or message.parts else ""
    parts = [{"kind": "text", "text": text}] if message.parts else []
    position = 1 + len(text) if message.parts else message.position
    return {"text": text, "parts": parts, "has_more_than_text": False, "position": position, "cut_position": None}


def begins_with(message: Message, title: str) -> bool:
    """Return whether a message begins with the title, as `chats.titles.title_of` makes it."""
    beginning = title.removesuffix("…").rstrip()
    return bool(beginning) and " ".join(message.text.split()).startswith(" ".join(beginning.split()))


def searches_quoting_message(message: Message) -> Any:
    """Return the access records of later searches whose terms occur in a message."""
    text = "\n".join([message.text, *(text for part in message.parts for text in texts_in(part))])
    return searches_quoting(text, message.created_at)


def searches_quoting(text: str, since: datetime) -> Any:
    """Return the access records of searches since then whose terms occur in a text."""
    terms = Replace("terms", Value('"'), Value(""))
    records = AccessRecord.objects.using(router.db_for_write(AccessRecord))
    # A second earlier: SQLite compares times as text, and its own have three decimals where Django's have six.
    searches = records.filter(kind=AccessRecord.Kind.SEARCH, at__gte=since - timedelta(seconds=1))
    long_enough = searches.alias(chars=Length(terms)).filter(chars__gte=MIN_TERM_CHARS)
    return long_enough.alias(message_text=Value(text, output_field=TextField())).filter(message_text__icontains=terms)
