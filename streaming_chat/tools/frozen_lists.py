"""The list of a server's tools that a conversation began with. All functions block, and none raises a database's error.

A server that changes its tools later changes no conversation: neither what the model has read of them, nor the prompt that
the provider has in its cache.
"""

from __future__ import annotations

import uuid

from django.db import DatabaseError

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.logs import describe, logger
from streaming_chat.models import ToolList

from .mcp_definitions import Definition, as_text, digest_of, from_text


def frozen_list(server: str, conversation_id: uuid.UUID) -> list[Definition] | None:
    """Return the list of a conversation, None if it has none of this server."""
    rows = ToolList.objects.using(live_database()).filter(server=server, conversations=conversation_id)
    try:
        text = rows.order_by("pk").values_list("definitions", flat=True).first()
    except DatabaseError as error:
        logger.warning("The tools of conversation %s cannot be read: %s", conversation_id, describe(error))
        return None
    return None if text is None else from_text(text)


def freeze(server: str, conversation_id: uuid.UUID, definitions: list[Definition]) -> None:
    """Give a conversation its list. If that fails, its next reply tries again."""
    text = as_text(definitions)
    try:
        write_transaction(lambda: _save(server, conversation_id, text))
    except DatabaseError as error:
        logger.warning("The tools of conversation %s cannot be saved: %s", conversation_id, describe(error))


def _save(server: str, conversation_id: uuid.UUID, text: str) -> None:
    lists, digest = ToolList.objects.using(live_database()), digest_of(text)
    lists.bulk_create([ToolList(server=server, digest=digest, definitions=text)], ignore_conflicts=True)
    row = lists.get(server=server, digest=digest)
    row.conversations.add(conversation_id)  # type: ignore[arg-type]  # the stubs know no other key than a number
