"""Copies of a message's text outside its row and the search index: saved events, the provider's opaque state, the notifier,
the journal, and SQLite's write-ahead log. And the texts of tool calls, what a client has written into the name of its
model, and what reviewers wrote: notes and corrected answers.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import CharField, F, Value
from django.db.models.functions import Concat, Left, StrIndex

from streaming_chat.conf import conf
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.ending_journal import journal
from streaming_chat.models import ProviderState, ReplyEvent, Review, ReviewNotes, ToolCall, ToolList, Verdict
from streaming_chat.notifiers import get_notifier

# Longest time that a reader may keep the log from being emptied, in milliseconds.
_CHECKPOINT_MS = 1_000


def remove(message_ids: Sequence[uuid.UUID], using: str) -> None:
    """Remove these copies: database rows in the open transaction, the rest after its commit.

    The messages have ended: neither the notifier nor the journal receives any of their text again.
    """
    ReplyEvent.objects.using(using).filter(message_id__in=message_ids).remove()
    ProviderState.objects.using(using).filter(message_id__in=message_ids).delete()
    transaction.on_commit(partial(_remove_outside_database, tuple(message_ids), using), using=using, robust=True)


def remove_calls(message_ids: Sequence[uuid.UUID], using: str) -> None:
    """Remove the texts of tool calls. In the open transaction. The rows stay: which tools ran, and who allowed them."""
    calls = ToolCall.objects.using(using).filter(message_id__in=message_ids)
    calls.update(arguments="", output="", answer=None)
    # A model may have invented these names.
    calls.filter(digest="").update(name="")


def remove_notes(conversation_ids: Sequence[uuid.UUID], using: str) -> None:
    """Remove the notes of reviews with their history, which may quote any message. In the open transaction.

    It is a change of the review, so a reviewer who has the notes on the screen does not save them again unknowingly.
    """
    ReviewNotes.objects.using(using).filter(conversation_id__in=conversation_ids).delete()
    with_notes = Review.objects.using(using).filter(conversation_id__in=conversation_ids).exclude(notes="")
    with_notes.update(notes="", version=F("version") + 1, changed_by=None)


def remove_corrections(message_ids: Sequence[uuid.UUID], using: str) -> None:
    """Remove the corrected answers of messages, with verdicts that have nothing else. In the open transaction."""
    verdicts = Verdict.objects.using(using).filter(message_id__in=message_ids).exclude(correction="")
    verdicts.filter(value="", labels=[]).delete()
    verdicts.update(correction="")


def remove_unused_tool_lists(using: str) -> None:
    """Remove what servers of tools have offered to no conversation that is left: a server may describe a user's data."""
    unused = ToolList.objects.using(using).filter(conversations=None)
    # One that a conversation begins with at this moment stays.
    with contextlib.suppress(IntegrityError):
        write_transaction(lambda: unused._raw_delete(using), using=using)


def remove_chosen_models(rows: Any) -> None:
    """Replace the models of conversations or messages that are not in STREAMING_CHAT_MODELS by `alias:*`."""
    chosen = rows.exclude(model__in=["", *conf.STREAMING_CHAT_MODELS])
    alias = Left("model", StrIndex("model", Value(":")))
    chosen.update(model=Concat(alias, Value("*"), output_field=CharField()))


def _remove_outside_database(message_ids: Sequence[uuid.UUID], using: str) -> None:
    get_notifier().forget(message_ids)
    journal.forget(message_ids)
    empty_log(using)


def empty_log(using: str) -> None:
    """Write SQLite's write-ahead log to its file and truncate it, since it holds pages as they were.

    Does nothing inside a transaction, or if a reader keeps the log open.
    """
    connection = connections[using]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        timeout = cursor.fetchone()[0]
        cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
        try:
            with contextlib.suppress(Exception):
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {timeout}")
