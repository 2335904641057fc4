"""Rows by their ids, for the owner alone: an unknown id, another owner's, and an unknown address are the same 404."""

from __future__ import annotations

import uuid

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message

from .responses import Answer, api, require_found

# Not from a replica, which may not have what this owner has just done.


def find_conversation(owner: Owner, conversation_id: uuid.UUID) -> Conversation:
    """Return a conversation of the owner's that is not deleted. Raises APIError: 404."""
    conversations = Conversation.objects.using(live_database()).for_owner(owner.key)
    return require_found(conversations.filter(pk=conversation_id).first())


def find_message(owner: Owner, message_id: uuid.UUID) -> Message:
    """Return a message of the owner's, with its conversation. Raises APIError: 404."""
    messages = Message.objects.using(live_database()).select_related("conversation")
    return require_found(messages.for_owner(owner.key).filter(pk=message_id).first())


def find_reply(owner: Owner, message_id: uuid.UUID) -> Message:
    """Return a reply of the owner's, with its conversation. Raises APIError: 404."""
    message = find_message(owner, message_id)
    return require_found(message if message.is_reply else None)


def not_found(request: HttpRequest, owner: Owner) -> Answer:
    """404 in JSON, as for an unknown id, in place of a page of the site's."""
    return require_found(None)


unknown_view = api(**dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), not_found))
