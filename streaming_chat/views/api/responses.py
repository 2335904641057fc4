"""What all API views share: who asks, errors as JSON, and the traps of Django's request cycle closed.

A view is a plain function of (request, owner, …) that runs in a thread, or prepares a stream (streaming.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt

from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.db.errors import is_away, is_busy
from streaming_chat.db.leases import lease_judge
from streaming_chat.exceptions import APIError, error_object
from streaming_chat.logs import describe, logger

Answer = dict[str, Any] | HttpResponse


View = TypeVar("View", bound=Callable[..., Any])


def exempt(view: View) -> View:
    """Take a view out of what the site does to its pages.

    The CSRF middleware answers in HTML and LoginRequiredMiddleware with a redirect, which a fetch follows; both checks
    are ours. ATOMIC_REQUESTS refuses async views, and would hold a reply's rows back until the response has ended.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return login_not_required(csrf_exempt(view))


def api(**handlers: Callable[..., Answer]) -> Callable[..., HttpResponse]:
    """Return the view of an address: one handler a method, each (request, owner, **url) -> a dict or a response."""

    @exempt
    @wraps(next(iter(handlers.values())))
    def view(request: HttpRequest, **url: Any) -> HttpResponse:
        try:
            handler = handler_for(request, handlers)
            owner = get_permissions().authenticate(request)
            answer = as_response(handler(request, owner, **url))
            lease_judge.database_answered()
            return answer
        except Exception as error:  # noqa: BLE001  (answered as JSON, and logged)
            return error_response(error)

    return view


def as_response(answer: Answer) -> HttpResponse:
    """Return a handler's answer as a response that no cache keeps."""
    return private(answer if isinstance(answer, HttpResponse) else JsonResponse(answer))


def handler_for(request: HttpRequest, handlers: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the handler of the request's method. Raises APIError."""
    method = "GET" if request.method == "HEAD" else request.method
    if method not in handlers:
        allowed = [name for method in handlers for name in ((method, "HEAD") if method == "GET" else (method,))]
        raise APIError(405, "method_not_allowed", allow=", ".join(allowed))
    return handlers[method]


def private(response: HttpResponse) -> HttpResponse:
    """Keep a response out of every cache: it is its owner's."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Cookie, Accept-Language"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def keep_token(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Have the browser keep the secret of the CSRF token that an answer holds, where the site has no middleware for it."""
    CsrfViewMiddleware(lambda request: response).process_response(request, response)
    return response


def error_response(error: Exception) -> HttpResponse:
    """Return the JSON of an error."""
    return api_error_response(api_error_from(error))


def api_error_from(error: Exception) -> APIError:
    """Return an error as what it is to a client; one that is not a refusal is logged under a reference."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, RequestDataTooBig):
        return APIError(413, "too_large")
    ref = uuid.uuid4().hex[:12]
    if is_away(error):
        return _database_away(error, ref)
    # Not exc_info: an error mail shows the locals of each frame, and those hold what people wrote.
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


def api_error_response(refusal: APIError) -> HttpResponse:
    """Return `{"error": {"code", "message", "retryable", …}}` with the refusal's status."""
    extra = dict(refusal.extra)
    allow = extra.pop("allow", None)
    if refusal.fields is not None:
        extra["fields"] = refusal.fields
    error = error_object(refusal.code, refusal.message, ref=refusal.ref, **extra)
    response = private(JsonResponse({"error": error}, status=refusal.status))
    # Said in the log where there is more to say; Django would mail the admins for each 503 of a restart.
    response._has_been_logged = refusal.status >= 500  # type: ignore[attr-defined]
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if allow:
        response.headers["Allow"] = str(allow)
    return response


def require(allowed: bool) -> None:
    """Raise APIError unless a permission was given."""
    if not allowed:
        raise APIError(403, "forbidden")


Found = TypeVar("Found")


def require_found(found: Found | None) -> Found:
    """Return what was found. Raises APIError: the same for an unknown id and a foreign one, so nobody learns which are."""
    if found is None:
        raise APIError(404, "not_found")
    return found
