"""Pages of messages, limited in number and in size: of one branch backwards, and of the whole tree."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import may_answer
from streaming_chat.chats.branches import PAGE_MESSAGES, Page, branch_page, tree_page
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message

from . import parsing
from .serializers import serialize_messages

_LIMIT = parsing.page_limit(PAGE_MESSAGES)


def branch_fields() -> parsing.Fields:
    """Return the parameters of a branch in view."""
    return parsing.Fields({"limit": _LIMIT})


def listed_fields() -> parsing.Fields:
    """Return the parameters of a list of messages."""
    return parsing.Fields({"before": parsing.identifier, "after": parsing.identifier, "limit": _LIMIT})


def branch_in_view(request: HttpRequest, owner: Owner, conversation: Conversation) -> dict[str, Any]:
    """Return the newest messages of the branch in view. `earlier` is the `before` of the page before them."""
    query = parsing.read_query(request, *branch_fields())
    page = branch_page(conversation, most=query.get("limit", PAGE_MESSAGES))
    return _named(page, request, owner, "messages", "earlier")


def listed(request: HttpRequest, owner: Owner, conversation: Conversation) -> dict[str, Any]:
    """Return what `before` asks for, the messages before one on its branch; or else the tree, from its oldest message."""
    query = parsing.read_query(request, *listed_fields())
    most = query.get("limit", PAGE_MESSAGES)
    name = "before" if "before" in query else "after"
    try:
        if name == "before":
            return _named(
                branch_page(conversation, before=query["before"], most=most), request, owner, "results", "earlier"
            )
        return _named(tree_page(conversation, after=query.get("after"), most=most), request, owner, "results", "next")
    except Message.DoesNotExist:
        raise APIError(422, "invalid", fields={name: "Must be a message of this conversation."}) from None


def _named(page: Page, request: HttpRequest, owner: Owner, messages: str, following: str) -> dict[str, Any]:
    serialized = serialize_messages(page.messages, owner.key, partial(may_answer, request, owner))
    return {messages: serialized, following: str(page.following) if page.following else None}
