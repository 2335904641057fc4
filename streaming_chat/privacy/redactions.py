"""Taking the text of one message away: it stays in its place as "[redacted]", with who did it and when.

What goes: text, parts, saved events, the digests of its request, comments on it, the conversation's title where it is the
message's beginning, and what copies.py knows. What cannot: docs/privacy.md says.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import router
from django.db.models import F, TextField, Value
from django.db.models.functions import Length, Now, Replace

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import AccessRecord, Conversation, Feedback, LiveReply, Message
from streaming_chat.search import backends

from . import copies
from .accesses import record

REDACTED = "[redacted]"
# Shorter terms are words that anybody seeks.
_LEAST_TERM_CHARS = 4


class StillLiveError(Exception):
    """The reply is being written: what is taken away now would come again."""


def redact(message_id: uuid.UUID, by: Any, *, terms: bool = False) -> None:
    """Take the text of a message away, once or again. Blocking.

    by: as in `accesses.record`. terms: clear the terms of searches, made since the message was, that occur in it.
    Raises Message.DoesNotExist, StillLiveError.
    """
    using = live_database()
    # Before anything is written: SQLite leaves the text of a row that is only written anew.
    backends.overwrite_deleted(using)
    conversation_id = Message.objects.using(using).values_list("conversation_id", flat=True).get(pk=message_id)
    write_transaction(partial(_redact, message_id, conversation_id, by, terms=terms), using=using)


def _redact(message_id: uuid.UUID, conversation_id: uuid.UUID, by: Any, *, terms: bool) -> None:
    using = live_database()
    conversations = Conversation.objects.using(using).filter(pk=conversation_id)
    # The write is the lock, which everything here takes first (models.py).
    conversations.update(last_activity=F("last_activity"))
    message = Message.objects.using(using).get(pk=message_id)
    if message.is_live or LiveReply.objects.using(using).filter(pk=message_id).exists():
        raise StillLiveError(f"Message {message_id} is being written.")
    done = record(AccessRecord.Kind.REDACT, by, conversation=conversation_id, message=message_id)
    if terms:
        quoting(message).update(terms=REDACTED)
    title = conversations.values_list("title", flat=True).first()
    titles_of = [conversation_id] if title and _begins(message, title) else []
    # Before the row: SQLite overwrites what is taken away from then on.
    copies.forget([message_id], using, titles_of=titles_of)
    Message.objects.using(using).filter(pk=message_id).update(
        **_what_stays(message), send_key=None, body_digest="", redacted_at=Now(), redacted_by=done.by_name
    )
    Feedback.objects.using(using).filter(message_id=message_id).update(comment="")
    if titles_of:
        conversations.update(title="")


def _what_stays(message: Message) -> dict[str, Any]:
    """Return the columns of the text: the mark in its place, and nothing where nothing was."""
    mark = REDACTED if message.text or message.parts else ""
    parts = [{"kind": "text", "text": mark}] if message.parts else []
    position = 1 + len(mark) if message.parts else message.position
    return {"text": mark, "parts": parts, "position": position, "cut_position": None}


def _begins(message: Message, title: str) -> bool:
    """Return whether the title is how the message begins, as `titles.title_of` makes it."""
    beginning = title.removesuffix("…").rstrip()
    return bool(beginning) and " ".join(message.text.split()).startswith(" ".join(beginning.split()))


def quoting(message: Message) -> Any:
    """Return the records of searches whose terms occur in a message, made since it was."""
    text = "\n".join([message.text, *(str(part.get("text", "")) for part in message.parts)])
    sought = Replace("terms", Value('"'), Value(""))
    records = AccessRecord.objects.using(router.db_for_write(AccessRecord))
    # Not to the instant: SQLite compares times as text, and its own have three decimals where Django's have six.
    since = message.created_at - timedelta(seconds=1)
    searches = records.filter(kind=AccessRecord.Kind.SEARCH, at__gte=since)
    long_enough = searches.alias(chars=Length(sought)).filter(chars__gte=_LEAST_TERM_CHARS)
    return long_enough.alias(said=Value(text, output_field=TextField())).filter(said__icontains=sought)
