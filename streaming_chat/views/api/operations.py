"""What each handler of the API takes and answers, declared beside it and read by openapi.py.

    @operation(body=_message_fields, answers={200: "Turn"}, streams=True, errors=SENDING)
    def send_message(request, owner): ...

Its fields come from what the handler parses, its addresses and methods from the views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.http import HttpResponse

from .parsing import Fields

# Every code of an error response, in the order in which a request is checked, with its status.
STATUSES = {
    "method_not_allowed": 405,
    "not_signed_in": 401,
    "invalid_token": 401,
    "token_required": 401,
    "insufficient_scope": 403,
    "csrf_failed": 403,
    "too_many_requests": 429,
    "forbidden": 403,
    "blocked": 403,
    "unsupported_media_type": 415,
    "too_large": 413,
    "too_slow": 408,
    "not_acceptable": 406,
    "invalid": 422,
    "context_invalid": 422,
    "context_expired": 422,
    "idempotency_mismatch": 422,
    "not_found": 404,
    "conversation_full": 422,
    "reply_in_progress": 409,
    "already_answered": 409,
    "not_waiting": 409,
    "approval_required": 409,
    "too_many_replies": 429,
    "too_many_streams": 429,
    "too_many_regenerations": 429,
    "too_many_conversations": 429,
    "quota_exceeded": 429,
    "cannot_go_on": 503,
    "draining": 503,
    "full": 503,
    "database_away": 503,
    "internal": 500,
}
# Of every request, of an unsafe one, of one with a body, and of one that streams.
_ALWAYS = ("not_signed_in", "invalid_token", "too_many_requests", "forbidden", "database_away", "internal")
_UNSAFE = ("insufficient_scope", "csrf_failed", "too_large", "too_slow")
_BODY = ("unsupported_media_type", "invalid")
_STREAM = ("not_acceptable", "invalid", "too_many_streams", "full")
# Of a request that begins a reply.
SENDING = (
    "blocked",
    "not_found",
    "idempotency_mismatch",
    "conversation_full",
    "reply_in_progress",
    "too_many_replies",
    "quota_exceeded",
    "draining",
)

# The name of a schema in schemas.py, a media type, or several of them; None for an empty body.
Content = str | tuple[str, ...] | None
Handler = Callable[..., Any]
View = Callable[..., Any]
# (error) -> the response to it.
RespondToError = Callable[[Exception], HttpResponse]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a handler takes and answers.

    body, query: functions that return the fields with the limits of the site.
    headers: the request headers that it reads.
    answers: by status, the name of a schema in schemas.py, a media type that has no schema, or several of them; None for an
        empty body.
    streams: a stream of the reply is an answer with 200, too.
    errors: codes in addition to the ones that follow from the above.
    failures: errors by status, as `answers`, where they have the format of another API.
    bearer_only: a session's cookie is not accepted.
    ignores_unknown: a body may have fields that are not described.
    """

    body: Callable[[], Fields] | None = None
    query: Callable[[], Fields] | None = None
    headers: tuple[str, ...] = ()
    answers: Mapping[int, Content]
    streams: bool = False
    errors: tuple[str, ...] = ()
    failures: Mapping[int, Content] | None = None
    ignores_unknown: bool = False
    bearer_only: bool = False

    def codes(self, method: str, path: str) -> list[str]:
        """Return the codes of its errors at an address, in the order in which they are looked for."""
        found = {*_ALWAYS, *self.errors}
        found.update(_UNSAFE if method != "GET" else ())
        found.update(_BODY if self.body else ())
        found.update(_STREAM if self.streams else ())
        found.update(("invalid",) if self.query else ())
        found.update(("not_found",) if "{" in path else ())
        return [code for code in STATUSES if code in found]


_operations: dict[Handler, Operation] = {}
_handlers: dict[View, Mapping[str, Handler]] = {}
_error_responses: dict[View, RespondToError] = {}


def operation(**described: Any) -> Callable[[H], H]:
    """Decorator: describe a handler. described: as `Operation`."""

    def describe(handler: H) -> H:
        _operations[handler] = Operation(**described)
        return handler

    return describe


def register(view: View, handlers: Mapping[str, Handler], respond_to_error: RespondToError | None = None) -> None:
    """Note the handlers of a view, by method. respond_to_error: None if its errors have the native API's format."""
    _handlers[view] = handlers
    if respond_to_error:
        _error_responses[view] = respond_to_error


def error_responses_of(view: View) -> RespondToError | None:
    """Return what makes the responses to a view's errors; None for the native API's."""
    return _error_responses.get(view)


def handlers_of(view: View) -> Mapping[str, Handler]:
    """Return the described handlers of a view, by method; none for a page, and for one that only answers 404."""
    return {method: handler for method, handler in _handlers.get(view, {}).items() if handler in _operations}


def operation_of(handler: Handler) -> Operation:
    """Return what a handler takes and answers."""
    return _operations[handler]
