"""The example site's Content-Security-Policy: nothing inline, nothing from elsewhere, for the admin too."""

from collections.abc import Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ]
)
# No script of these pages turns text into HTML but by the chat's own policy, behind its allow-list.
TRUSTED_TYPES = "require-trusted-types-for 'script'; trusted-types streaming-chat"


@sync_and_async_middleware
def content_security_policy(get_response: Callable) -> Callable:
    """Add the policy to every response. Django 6.0 has a middleware for this; 5.2 has none."""
    if iscoroutinefunction(get_response):

        async def middleware(request):
            return _with_policy(request, await get_response(request))

    else:

        def middleware(request):
            return _with_policy(request, get_response(request))

    return middleware


def _with_policy(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    policy = POLICY if _is_admin(request) else f"{POLICY}; {TRUSTED_TYPES}"
    response.headers.setdefault("Content-Security-Policy", policy)
    return response


def _is_admin(request: HttpRequest) -> bool:
    """Return whether Django's admin answered, whose jQuery makes HTML of text."""
    match = request.resolver_match
    return match is not None and "admin" in match.app_names
