"""Links to conversations: an owner makes one, and everybody who has it reads one branch, as it was then.

A link ends with a fixed message: what is sent later is on no shared page. What is redacted or erased is gone from it at
once, since the page shows the rows themselves.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from functools import partial
from typing import NamedTuple

from django.db.models import F
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, LiveReply, ShareLink

# 256 bits cannot be guessed, so their digest needs no key, and links outlive a change of SECRET_KEY.
_TOKEN_BYTES = 32


class NewLink(NamedTuple):
    """A link that was just made. The token is nowhere else."""

    token: str
    link: ShareLink

    def __repr__(self) -> str:
        # Error pages show it.
        return f"NewLink({self.link!r})"


def share(conversation: Conversation) -> NewLink:
    """Make a link to the branch in view, in place of an earlier one. Raises APIError: 404, 409 or 422."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return NewLink(token, write_transaction(partial(_replace_link, conversation, _digest(token))))


def _replace_link(conversation: Conversation, token_digest: str) -> ShareLink:
    using = live_database()
    mine = Conversation.objects.using(using).for_owner(conversation.owner_key).filter(pk=conversation.pk)
    # The write is the lock (see models/conversations.py).
    if not mine.update(last_activity=F("last_activity")):
        raise APIError(404, "not_found")
    if live := LiveReply.objects.using(using).filter(conversation_id=conversation.pk).first():
        raise APIError(409, "reply_in_progress", reply=str(live.pk))
    head = mine.values_list("head_id", flat=True).get()
    if head is None:
        raise APIError(422, "invalid", fields={"id": "Must be a conversation with messages."})
    links = ShareLink.objects.using(using)
    links.filter(pk=conversation.pk).delete()
    links.create(conversation_id=conversation.pk, message_id=head, token_digest=token_digest, created_at=Now())
    return links.get(pk=conversation.pk)


def link_to(conversation_id: uuid.UUID) -> ShareLink | None:
    """Return the link to a conversation."""
    return ShareLink.objects.using(live_database()).filter(pk=conversation_id).first()


def revoke(conversation_id: uuid.UUID) -> bool:
    """Remove the link to a conversation; False if there is none."""
    links = ShareLink.objects.using(live_database()).filter(pk=conversation_id)
    return bool(write_transaction(links.delete)[0])


def find_shared(token: str) -> Conversation | None:
    """Return the conversation that a link shows, whose `head` is the last message of the link. None if it is gone."""
    if not conf.STREAMING_CHAT_SHARING:
        return None
    links = ShareLink.objects.using(live_database()).select_related("conversation__owner")
    not_gone = links.filter(conversation__deleted_at=None).exclude(conversation__owner_key="")
    link = not_gone.filter(token_digest=_digest(token)).first()
    if link is None or not _is_active(link.conversation):
        return None
    link.conversation.head_id = link.message_id
    return link.conversation


def _is_active(conversation: Conversation) -> bool:
    return conversation.owner is None or conversation.owner.is_active


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
