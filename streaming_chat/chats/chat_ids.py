"""Ids of chats that clients choose, as those of the AI SDK and AG-UI do: each stands for one conversation of its owner."""

from __future__ import annotations

import uuid
from dataclasses import replace

from django.db.models import Q

from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation

from .send_request import SendRequest

MAX_CHAT_ID = 128


def find_chat(owner: Owner, chat_id: str) -> Conversation | None:
    """Return the conversation of a chat, None for a new chat. Raises APIError: 404 if it is deleted.

    A conversation that was begun elsewhere is found by its own id.
    """
    if "\0" in chat_id:
        # No chat has such an id, and PostgreSQL refuses the question.
        return None
    mine = Conversation.objects.using(live_database()).owned_by(owner.key)
    found = mine.filter(Q(chat_id=chat_id) | Q(pk=_as_uuid(chat_id))).first()
    if found and found.deleted_at:
        raise APIError(404, "not_found")
    return found


def in_chat(owner: Owner, send_request: SendRequest) -> SendRequest:
    """Return the request with the conversation of its chat, which another request may just have begun."""
    if not send_request.chat_id or send_request.conversation_id:
        return send_request
    found = find_chat(owner, send_request.chat_id)
    return replace(send_request, conversation_id=found.pk) if found else send_request


def _as_uuid(chat_id: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(chat_id)
    except ValueError:
        return None
