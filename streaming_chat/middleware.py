"""Optional middleware: answers an `APIError` that a view of the site does not catch.

The app's own views answer their errors themselves. A view of the site that calls `send_message` can do so with try and
except; with this middleware it need not, and a refused message has its status instead of 500.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin

from .exceptions import APIError
from .views.api.responses import error_response


class APIErrorMiddleware(MiddlewareMixin):
    """Answers with the error's status: a page in the site's frame for a browser, else the JSON of the API."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response to an APIError; None for any other exception."""
        if not isinstance(exception, APIError):
            return None
        response = error_response(exception)
        # JSON first: it is the answer for clients that accept anything.
        if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
            page = render(request, "streaming_chat/error.html", {"error": exception})
            response.content = page.content
            response.headers["Content-Type"] = page.headers["Content-Type"]
        return response
