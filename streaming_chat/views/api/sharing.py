"""The link with which an owner shares a conversation: make, look at, revoke."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats import sharing
from streaming_chat.conf import conf
from streaming_chat.exceptions import APIError
from streaming_chat.models import ShareLink

from . import parsing
from .lookups import find_conversation
from .operations import operation
from .responses import Answer, api, require


@operation(body=parsing.no_fields, answers={201: "NewShareLink"}, errors=("reply_in_progress",))
def make_link(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """Share the branch in view, and answer with the address, which no later answer has."""
    parsing.read_body(request, *parsing.no_fields())
    _require_sharing()
    conversation = find_conversation(owner, conversation_id)
    require(get_permissions().may_share(request, owner, conversation))
    token, link = sharing.share(conversation)
    url = request.build_absolute_uri(reverse("streaming_chat:shared", args=[token]))
    return JsonResponse({"url": url, **_state(link)}, status=201)


@operation(answers={200: "ShareLink"})
def get_link(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """Since when the conversation is shared, and up to which message."""
    _require_sharing()
    require(get_permissions().may_read(request, owner))
    return _state(sharing.link_to(find_conversation(owner, conversation_id).pk))


@operation(answers={204: None})
def revoke_link(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """End the sharing, also where it is not allowed any more."""
    sharing.revoke(find_conversation(owner, conversation_id).pk)
    return HttpResponse(status=204)


def _require_sharing() -> None:
    if not conf.STREAMING_CHAT_SHARING:
        raise APIError(404, "not_found")


def _state(link: ShareLink | None) -> dict[str, Any]:
    if link is None:
        return {"shared_at": None, "message": None}
    return {"shared_at": link.created_at.isoformat(), "message": str(link.message_id)}


share_view = api(POST=make_link, GET=get_link, DELETE=revoke_link)
