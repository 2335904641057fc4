"""A strict policy, and a middleware from before Django was asynchronous."""

from django.contrib.auth import get_user_model
from django.utils.deprecation import MiddlewareMixin

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'"
)


def content_security_policy(get_response):
    """Send a policy under which no inline script or style runs."""

    def middleware(request):
        response = get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return middleware


class LegacyMiddleware(MiddlewareMixin):
    """Asks the database for each request and looks at each response; it knows no async."""

    async_capable = False

    def process_request(self, request):
        """Count people."""
        request.people = get_user_model().objects.count()

    def process_response(self, request, response):
        """Say how many there are, and how long a page is."""
        response.headers["X-People"] = str(request.people)
        if not response.streaming:
            response.headers["X-Length"] = str(len(response.content))
        return response
