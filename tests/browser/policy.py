"""The Content-Security-Policy of the browser tests: all that a chat needs, and not one thing more."""

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types streaming-chat",
    ]
)


@sync_and_async_middleware
def strict_policy(get_response):
    """Add the policy to every response, except the examples: htmx makes HTML of strings."""

    def stamped(request, response):
        if not request.path.startswith("/examples/"):
            response.headers["Content-Security-Policy"] = POLICY
        return response

    if iscoroutinefunction(get_response):

        async def middleware(request):
            return stamped(request, await get_response(request))

    else:

        def middleware(request):
            return stamped(request, get_response(request))

    return middleware
