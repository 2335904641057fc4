"""The page that a link shows to everybody who has it: one branch of a conversation, without its owner's name."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from streaming_chat.accounts.owners import Owner
from streaming_chat.chats.branches import Page, branch_page, is_in_view
from streaming_chat.chats.sharing import find_shared
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation

from . import in_thread
from .api import parsing
from .api.responses import exempt
from .pages import too_many_requests
from .plain_turns import turns_of
from .work_shares import MeasuredWork

# A reader is nobody's owner: the work is charged to the network address.
_READER = Owner(None, "")
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
}


@exempt
@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """Show the conversation of a link; 404 if the link is unknown, revoked or gone with its conversation."""
    with MeasuredWork() as work:
        try:
            work.require_share(request, _READER)
            response = _show(request, token)
        except APIError as error:
            response = too_many_requests(request, error)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    # Django logs the address of an error, which has the token.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _show(request: HttpRequest, token: str) -> HttpResponse:
    conversation = find_shared(token)
    if conversation is None:
        return render(request, "streaming_chat/gone.html", {"is_shared": True}, status=404)
    page = _page(request, conversation)
    context: dict[str, Any] = {
        "conversation": conversation,
        "turns": turns_of(page.messages, request.GET.get("format", ""), is_shared=True),
        "earlier": page.following,
    }
    return render(request, "streaming_chat/shared.html", context)


def _page(request: HttpRequest, conversation: Conversation) -> Page:
    """Return the last messages, or those `before` one of them: no message of another branch, and no later one."""
    try:
        before = parsing.identifier(request.GET.get("before", ""))
    except ValueError:
        before = None
    return branch_page(conversation, before=before if before and is_in_view(conversation, before) else None)


in_thread.register(shared, shared)
