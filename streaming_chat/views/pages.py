"""The chat page, for a new chat and for a conversation. Its script loads the messages from the native API.

`?view=plain` is the page without JavaScript (plain.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation

from .plain import plain_page, with_form
from .work_shares import MeasuredWork


def _page(view: Callable[..., HttpResponse]) -> Callable[..., Any]:
    """Decorator: require the permission to read; without an owner, redirect to the login page.

    Not by LoginRequiredMiddleware, which does not know the site's STREAMING_CHAT_PERMISSIONS.
    """

    @with_form
    @require_http_methods(["GET", "HEAD", "POST"])
    @never_cache
    @wraps(view)
    def page(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        with MeasuredWork() as work:
            try:
                owner = get_permissions().identify(request)
                work.require_share(request, owner)
            except APIError as error:
                return refuse(request, error)
            if not get_permissions().may_read(request, owner):
                raise PermissionDenied
            return view(request, owner, **kwargs)

    return page


def refuse(request: HttpRequest, error: APIError) -> HttpResponse:
    """Answer a request for a page that is refused: redirect to the login page, or show an error page."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return redirect_to_login(request.get_full_path())
    if error.status == HTTPStatus.FORBIDDEN and error.code != "csrf_failed":
        raise PermissionDenied from error
    return too_many_requests(request, error)


def too_many_requests(request: HttpRequest, error: APIError) -> HttpResponse:
    """Return a page with the error, and when to try again."""
    response = render(request, "streaming_chat/error.html", {"error": error}, status=error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@_page
def chat(request: HttpRequest, owner: Owner) -> HttpResponse:
    """Show a new chat."""
    return plain_page(request, owner) if _is_plain(request) else _render(request)


@_page
def conversation(request: HttpRequest, owner: Owner, conversation_id: UUID) -> HttpResponse:
    """Show a conversation of the owner's; for any other, 404 with a page that says that there is none."""
    mine = Conversation.objects.using(live_database()).for_owner(owner.key)
    conversation = mine.filter(pk=conversation_id).first()
    if conversation is None:
        return render(request, "streaming_chat/gone.html", {"is_plain": _is_plain(request)}, status=404)
    if _is_plain(request):
        return plain_page(request, owner, conversation)
    return _render(request, conversation_id=conversation_id)


def _is_plain(request: HttpRequest) -> bool:
    return request.GET.get("view") == "plain"


def _render(request: HttpRequest, **context: Any) -> HttpResponse:
    return render(request, "streaming_chat/chat.html", context)
