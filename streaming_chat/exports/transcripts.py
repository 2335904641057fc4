"""Exports of conversations, in chunks. See formats.py for JSONL and CSV, markdown.py for one branch as Markdown."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import QuerySet

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message

from .formats import Format
from .rows import MessageReader, Row, conversation_pages


class ExportChunk(NamedTuple):
    """Bytes of a file. through: the last conversation that is complete with them; None in the middle of a page.

    conversations, messages: how many are complete with this chunk.
    """

    data: bytes
    through: uuid.UUID | None = None
    conversations: int = 0
    messages: int = 0


def export(
    conversations: QuerySet[Conversation], format: Format, after: uuid.UUID | None = None
) -> Iterator[ExportChunk]:
    """Yield the file of conversations in the order of their ids. Each is as it is when it is read. Blocking.

    after: `through` of an interrupted export, which this continues; the file's head is left out then.
    """
    if after is None:
        yield ExportChunk(format.head)
    for page in conversation_pages(conversations, after):
        yield from _export_page(page, format)


def _export_page(page: list[Row], format: Format) -> Iterator[ExportChunk]:
    """Yield a page of conversations, a group of messages per chunk."""
    ids, reader = _messages_of(page)
    pieces: list[str] = []
    messages = 0
    for row in page:
        pieces.append(format.begin(row))
        for pk in ids[row["id"]]:
            if reader.has_to_read(pk) and (text := "".join(pieces)):
                yield ExportChunk(text.encode())
                pieces.clear()
            if (message := reader.take(pk)) is not None:
                messages += 1
                pieces.append(format.message(row, message))
        pieces.append(format.end())
    yield ExportChunk("".join(pieces).encode(), page[-1]["id"], len(page), messages)


def _messages_of(page: list[Row]) -> tuple[dict[uuid.UUID, list[uuid.UUID]], MessageReader]:
    """Return the ids of the messages by conversation, oldest first, and a reader for them in this order."""
    using = live_database()
    rows = Message.objects.using(using).filter(conversation_id__in=[row["id"] for row in page])
    columns = rows.order_by("conversation_id", "created_at", "id").values_list("conversation_id", "pk", "position")
    ids: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    sizes = {}
    for conversation, pk, position in columns:
        ids[conversation].append(pk)
        sizes[pk] = position
    in_order = [pk for row in page for pk in ids[row["id"]]]
    return ids, MessageReader(in_order, sizes, using)
