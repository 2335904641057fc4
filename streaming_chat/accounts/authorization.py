"""Requests with an `Authorization` header: they are judged by it alone, without cookies, and hence need no CSRF token.

Source: https://www.rfc-editor.org/rfc/rfc6750 (Bearer tokens)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from streaming_chat.exceptions import APIError
from streaming_chat.models import AccessToken

from .access_tokens import Presented, find_token, present
from .failed_tokens import Attempt

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# A browser adds these by itself, for the web server or for Django's RemoteUserMiddleware. Such a request is like one without
# the header: its cookie counts, and its CSRF token.
_SCHEMES_OF_BROWSERS = frozenset({"basic", "digest", "negotiate", "ntlm"})
_IS_AUTHORIZED = "_streaming_chat_is_authorized"

# (request) -> the user of its header, None if the header is not valid.
FindUser = Callable[[HttpRequest], Any]


def has_authorization(request: HttpRequest) -> bool:
    """Return whether a request is judged by its header alone."""
    header = request.META.get("HTTP_AUTHORIZATION")
    return header is not None and header.partition(" ")[0].lower() not in _SCHEMES_OF_BROWSERS


def is_authorized(request: HttpRequest) -> bool:
    """Return whether a request has been authenticated by its header."""
    return getattr(request, _IS_AUTHORIZED, False)


def token_of(request: HttpRequest) -> AccessToken | None:
    """Return the access token of an authenticated request; None for a session, and for a token of another kind."""
    return getattr(request, "streaming_chat_token", None)


def find_access_token(request: HttpRequest) -> AccessToken | None:
    """Return the access token in the header, None if there is no valid one."""
    presented = _presented(request)
    return None if presented is None else find_token(presented)


def authorize(request: HttpRequest, find_user: FindUser) -> Any:
    """Return the active user of the header, who becomes the request's. Raises APIError: 401, 403 for its scope, 429."""
    attempt = Attempt(request)
    user = find_user(request)
    if user is None or not user.is_authenticated or not user.is_active:
        attempt.failed()
        raise APIError(401, "invalid_token")
    attempt.succeeded()
    token = token_of(request)
    if token is not None and token.scope == AccessToken.Scope.READ and request.method not in SAFE_METHODS:
        raise APIError(403, "insufficient_scope")
    request.user = user
    setattr(request, _IS_AUTHORIZED, True)
    return user


def challenge(error: APIError) -> str:
    """Return the header `WWW-Authenticate` of an error, "" for none."""
    if error.code == "insufficient_scope":
        return 'Bearer realm="streaming_chat", error="insufficient_scope", scope="chat"'
    if error.status != 401:
        return ""
    return 'Bearer realm="streaming_chat"' + (', error="invalid_token"' if error.code == "invalid_token" else "")


def _presented(request: HttpRequest) -> Presented | None:
    scheme, _, text = request.META["HTTP_AUTHORIZATION"].partition(" ")
    return present(text.strip(" ")) if scheme.lower() == "bearer" else None
