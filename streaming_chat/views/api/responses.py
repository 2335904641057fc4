"""What all API views share: authentication, methods, and errors as JSON.

A handler is a function of (request, owner, …) that runs in a thread; streaming.py has those that answer with a reply.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt

from streaming_chat.accounts.authorization import challenge
from streaming_chat.db.errors import is_away, is_busy
from streaming_chat.db.leases import lease_judge
from streaming_chat.exceptions import APIError, error_object
from streaming_chat.logs import describe, logger
from streaming_chat.views import in_thread
from streaming_chat.views.work_shares import MeasuredWork

from . import operations

Answer = dict[str, Any] | HttpResponseBase

# Of a form that Django does not read, as in another encoding than UTF-8; the CSRF check looks for a token in it.
_UNREADABLE_FORM = (BadRequest, MultiPartParserError, TooManyFieldsSent, TooManyFilesSent)

View = TypeVar("View", bound=Callable[..., Any])
Response = TypeVar("Response", bound=HttpResponseBase)


def exempt(view: View) -> View:
    """Exempt a view from what the site does to its pages.

    The CSRF middleware answers in HTML and LoginRequiredMiddleware with a redirect, which a fetch follows; the API
    does both checks itself. ATOMIC_REQUESTS does not allow async views, and would not commit a reply's rows before the
    response has ended.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return login_not_required(csrf_exempt(view))


def api(**handlers: Callable[..., Answer]) -> Callable[..., HttpResponseBase]:
    """Return a view. handlers: one for each method, (request, owner, **url) -> a dict or a response."""

    @exempt
    @wraps(next(iter(handlers.values())))
    def view(request: HttpRequest, **url: Any) -> HttpResponseBase:
        try:
            with MeasuredWork() as work:
                handler = handler_for(request, handlers)
                owner = work.authenticate(request)
                answer = as_response(handler(request, owner, **url))
                lease_judge.database_answered()
                return answer
        except Exception as error:  # noqa: BLE001  (answered as JSON, and logged)
            return error_response(error)

    in_thread.register(view, view)
    operations.register(view, handlers)
    return view


def as_response(answer: Answer) -> HttpResponseBase:
    """Return a handler's answer as a response that no cache stores."""
    return private(answer if isinstance(answer, HttpResponseBase) else JsonResponse(answer))


def handler_for(request: HttpRequest, handlers: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the handler of the request's method. Raises APIError."""
    method = "GET" if request.method == "HEAD" else request.method
    if method not in handlers:
        allowed = [name for method in handlers for name in ((method, "HEAD") if method == "GET" else (method,))]
        raise APIError(405, "method_not_allowed", allow=", ".join(allowed))
    return handlers[method]


def private(response: Response) -> Response:
    """Keep a response out of every cache: it is for its owner alone."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Cookie, Accept-Language"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def keep_token(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Set the cookie for the CSRF token in a response, in case the site does not use the middleware."""
    CsrfViewMiddleware(lambda request: response).process_response(request, response)
    return response


def error_response(error: Exception) -> HttpResponse:
    """Return the JSON of an error: `{"error": {"code", "message", "retryable", …}}` with its status."""
    api_error = api_error_from(error)
    extra = {name: value for name, value in api_error.extra.items() if name != "allow"}
    if api_error.fields is not None:
        extra["fields"] = api_error.fields
    content = error_object(api_error.code, api_error.message, ref=api_error.ref, **extra)
    return as_error(JsonResponse({"error": content}), api_error)


def text_error_response(error: Exception) -> HttpResponse:
    """Return an error as a sentence for people, for clients that show the body of a response."""
    api_error = api_error_from(error)
    text = " ".join([api_error.text, *(api_error.fields or {}).values()])
    return as_error(HttpResponse(text, content_type="text/plain; charset=utf-8"), api_error)


def as_error(response: HttpResponse, error: APIError) -> HttpResponse:
    """Give a response the status and the headers of an error, whatever the format of its body."""
    response.status_code = error.status
    # Logged already if there is more to say; Django would mail the admins for each 503 of a restart.
    response._has_been_logged = error.status >= 500  # type: ignore[attr-defined]
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if value := challenge(error):
        response.headers["WWW-Authenticate"] = value
    if allow := error.extra.get("allow"):
        response.headers["Allow"] = str(allow)
    return private(response)


def api_error_from(error: Exception) -> APIError:
    """Return an error as clients get it; an unexpected one is logged with a reference."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, RequestDataTooBig):
        return APIError(413, "too_large")
    if isinstance(error, _UNREADABLE_FORM):
        return APIError(415, "unsupported_media_type")
    ref = uuid.uuid4().hex[:12]
    if is_away(error):
        return _database_away(error, ref)
    # Without exc_info: an error mail shows the local variables of each frame, and those hold what people wrote.
    logger.error("A request failed; ref %s: %s", ref, describe(error))
    return APIError(500, "internal", ref=ref)


def _database_away(error: Exception, ref: str) -> APIError:
    if is_busy(error):
        # Another session holds what is written: the database itself works.
        logger.error("A lock was not released in time (%s); ref %s.", type(error).__name__, ref)
    else:
        lease_judge.database_failed()
        logger.error("The database is away (%s); ref %s.", type(error).__name__, ref)
    return APIError(503, "database_away", retry_after=2, ref=ref)


def require(allowed: bool) -> None:
    """Raise APIError 403 unless allowed."""
    if not allowed:
        raise APIError(403, "forbidden")


Found = TypeVar("Found")


def require_found(found: Found | None) -> Found:
    """Return what was found. Raises APIError: the same 404 for an unknown id and for another owner's."""
    if found is None:
        raise APIError(404, "not_found")
    return found
