"""The largest request body of the app, for `streaming_chat.asgi`, which refuses a larger one before Django reads it."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import get_script_prefix
from django.http import HttpResponse
from django.urls import Resolver404, resolve

from streaming_chat.exceptions import APIError

from .api.parsing import max_body_bytes
from .api.responses import error_response

_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "TRACE")


def longest_body(scope: dict[str, Any]) -> int | None:
    """Return how many bytes the body of this ASGI scope may have; None if the app does not limit it.

    The path is looked up only for a body that could be too large: one of unknown length, or with a larger one.
    """
    longest = max_body_bytes()
    if scope["method"] in _WITHOUT_BODY and not _has_body(scope):
        return None
    if _is_length_known(scope) and declared_length(scope) <= longest:
        return None
    return longest if _is_ours(scope) else None


def declared_length(scope: dict[str, Any]) -> int:
    """Return the body's length as its header says it, 0 without one."""
    length = _header(scope, b"content-length")
    return int(length) if length.isdigit() else 0


def refusal(scope: dict[str, Any]) -> HttpResponse:
    """Return the 413, after which the connection is closed: the rest of the body is not read."""
    response = error_response(APIError(413, "too_large"))
    # HTTP/2 ends the stream alone, and has no such header.
    if scope["http_version"].startswith("1"):
        response.headers["Connection"] = "close"
    return response


def _has_body(scope: dict[str, Any]) -> bool:
    return bool(_header(scope, b"content-length") or _header(scope, b"transfer-encoding"))


def _is_length_known(scope: dict[str, Any]) -> bool:
    return bool(_header(scope, b"content-length")) and not _header(scope, b"transfer-encoding")


def _header(scope: dict[str, Any], name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _is_ours(scope: dict[str, Any]) -> bool:
    path: str = scope["path"]
    try:
        return "streaming_chat" in resolve(path.removeprefix(get_script_prefix(scope))).app_names
    except Resolver404:
        return False
