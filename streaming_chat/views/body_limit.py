"""The limits of a request body of the app, for `streaming_chat.asgi`, which applies them before Django has read it."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import get_script_prefix
from django.http import HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve

from streaming_chat.exceptions import APIError

from .api.operations import error_responses_of
from .api.parsing import max_body_bytes
from .api.responses import error_response

_STATUSES = {"too_large": 413, "too_slow": 408}
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "TRACE")


def may_have_body(scope: dict[str, Any]) -> bool:
    """Return whether the request of this ASGI scope may have a body."""
    return scope["method"] not in _WITHOUT_BODY or bool(
        _header(scope, b"content-length") or _header(scope, b"transfer-encoding")
    )


def longest_body() -> int:
    """Return how many bytes a body may have."""
    return max_body_bytes()


def declared_length(scope: dict[str, Any]) -> int:
    """Return the body's length as its header says it, 0 without one."""
    length = _header(scope, b"content-length")
    return int(length) if length.isdigit() else 0


def refusal(scope: dict[str, Any], code: str) -> HttpResponse:
    """Return the response for too_large or too_slow, which closes the connection: the rest of the body is not read."""
    match = _match(scope)
    respond = (match and error_responses_of(match.func)) or error_response
    response = respond(APIError(_STATUSES[code], code))
    # HTTP/2 ends the stream alone, and has no such header.
    if scope["http_version"].startswith("1"):
        response.headers["Connection"] = "close"
    return response


def _header(scope: dict[str, Any], name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def is_ours(scope: dict[str, Any]) -> bool:
    """Return whether the request is for a view of the app."""
    match = _match(scope)
    return match is not None and "streaming_chat" in match.app_names


def _match(scope: dict[str, Any]) -> ResolverMatch | None:
    path: str = scope["path"]
    try:
        return resolve(path.removeprefix(get_script_prefix(scope)))
    except Resolver404:
        return None
