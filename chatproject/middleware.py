"""The example site's Content-Security-Policy: nothing inline, nothing from elsewhere, for the admin too."""

from collections.abc import Callable

from asgiref.sync import iscoroutinefunction
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


@sync_and_async_middleware
def content_security_policy(get_response: Callable) -> Callable:
    """Add the policy to every response. Django 6.0 has a middleware for this; 5.2 has none."""
    if iscoroutinefunction(get_response):

        async def middleware(request):
            return _with_policy(await get_response(request))

    else:

        def middleware(request):
            return _with_policy(get_response(request))

    return middleware


def _with_policy(response):
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response
