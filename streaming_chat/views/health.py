"""The health check for load balancers: whether this process should get new requests.

It uses neither the database nor a thread, so that it is answered while both are busy; `streaming_chat.asgi` answers it
before the request reaches Django.
"""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import get_script_prefix
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import APIError

from .api.responses import error_response, exempt, handler_for, private

# The end of its path, wherever the site includes the app's URLs.
ROUTE = "health"


def answer_health(request: HttpRequest | None = None) -> HttpResponse:
    """Return 200 `ok`, or 503 with the reason: `draining` before the process ends, `not_saving` if replies are not saved."""
    state = _state()
    return private(HttpResponse(state, status=200 if state == "ok" else 503, content_type="text/plain"))


def _state() -> str:
    if runner.is_draining:
        return "draining"
    return "ok" if writer.is_working else "not_saving"


@exempt
def health_view(request: HttpRequest) -> HttpResponse:
    """`answer_health` for servers that do not use `streaming_chat.asgi`."""
    try:
        return handler_for(request, {"GET": answer_health})(request)
    except APIError as error:
        return error_response(error)


def is_health_check(scope: dict[str, Any]) -> bool:
    """Return whether an ASGI scope asks for the health check, at whatever path the site has included it."""
    path: str = scope["path"]
    if not path.endswith(f"/{ROUTE}") or scope["method"] not in ("GET", "HEAD"):
        return False
    try:
        return resolve(path.removeprefix(get_script_prefix(scope))).func is health_view
    except Resolver404:
        return False
