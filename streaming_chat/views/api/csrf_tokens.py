"""CSRF tokens for pages that stay open: signing in, in another tab too, changes the secret behind theirs."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.middleware.csrf import get_token

from streaming_chat.accounts.authorization import is_authorized
from streaming_chat.accounts.owners import Owner

from . import parsing
from .operations import operation
from .responses import Answer, api, keep_token


@operation(answers={200: "CsrfToken"})
def get_fresh_token(request: HttpRequest, owner: Owner) -> Answer:
    """A token that is valid now, "" for a request that needs none."""
    if is_authorized(request):
        return {"csrf_token": ""}
    return keep_token(request, JsonResponse({"csrf_token": get_token(request)}))


@operation(body=parsing.no_fields, answers={200: "CsrfToken"})
def start_visit(request: HttpRequest, owner: Owner) -> Answer:
    """The same, and the cookie that makes an anonymous client a known visitor, before the first message.

    A proxy may hold back an event stream with all its headers. A client that became a visitor by that stream would have no
    cookie yet, so that its second attempt could not find the first.
    """
    parsing.read_body(request, *parsing.no_fields())
    return get_fresh_token(request, owner)


token_view = api(GET=get_fresh_token, POST=start_visit)
