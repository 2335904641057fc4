"""Views that answer their errors in OpenAI's shape, and the answers themselves. They are for requests with a token alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.exceptions import error_text
from streaming_chat.models import Message
from streaming_chat.protocol import openai_objects
from streaming_chat.protocol.events import APPROVAL, REASONING, STEP, TOOL_CALL, Event, after, text_of
from streaming_chat.views import in_thread
from streaming_chat.views.api.responses import Answer, api_error_from, error_response, private, require_found
from streaming_chat.views.api.serializers import received_events
from streaming_chat.views.api.streaming import Handler, api_view, prepare_with

# What the native API calls them.
_PARAMETERS = {"effort": "reasoning_effort", "client_id": "Idempotency-Key"}


def openai_view(fits: Any = None, **handlers: Handler) -> Callable[..., Any]:
    """Return a view. fits: as for `reply_view`. handlers: one for each method."""
    return api_view(prepare_with(handlers, bearer_only=True), handlers, openai_error_response, fits=fits)


def not_found(request: HttpRequest, owner: Owner) -> Answer:
    """404, for an address of OpenAI's that is not here: the SDKs show the message of an error, and not a page."""
    return require_found(None)


def openai_error_response(error: Exception) -> HttpResponse:
    """Return an error as OpenAI does. Statuses are the native API's, but for what OpenAI has another one for."""
    api_error = api_error_from(error)
    response = error_response(api_error)
    status, code, param = api_error.status, api_error.code, None
    if fields := api_error.fields:
        param = next(_PARAMETERS.get(name, name) for name in fields)
    if status == 422:
        status, code = (404, "model_not_found") if param == "model" else (400, code)
    texts = [f"{_PARAMETERS.get(name, name)}: {text}" for name, text in (fields or {}).items()]
    content = openai_objects.error_object(
        status, code, " ".join([api_error.text, *texts]), param=param, ref=api_error.ref
    )
    return _with_error(response, status, content, may_retry=status != 500)


def refused_reply(payload: dict[str, Any]) -> HttpResponse:
    """Return the response for a reply that failed. payload: see protocol/endings.py."""
    code = payload["error_code"] or "internal"
    status = openai_objects.status_of_ending(code)
    return _with_error(private(HttpResponse()), status, openai_objects.error_of_ending(payload), may_retry=False)


def late_reply() -> HttpResponse:
    """Return the response for a reply that has not ended in the time that a WSGI worker may wait."""
    code = "provider_timeout"
    content = openai_objects.error_object(504, code, error_text(code))
    return _with_error(private(HttpResponse()), 504, content, may_retry=False)


def _with_error(response: HttpResponse, status: int, error: Any, *, may_retry: bool) -> HttpResponse:
    """Return the response with this error in place of its own."""
    whole = JsonResponse({"error": error}, status=status)
    response.status_code, response.content = status, whole.content
    response.headers["Content-Type"] = whole.headers["Content-Type"]
    response._has_been_logged = status >= 500  # type: ignore[attr-defined]  # as in error_response
    if not may_retry:
        # The SDKs send a request again after 429 and 5xx. The provider may have been paid for this one, and the app has
        # already repeated what can be repeated.
        response.headers["x-should-retry"] = "false"
    return response


def answer_whole(reply: Message, position: int = 0) -> HttpResponse:
    """Return a reply that has ended as one chat completion. position: from which the client does not have it."""
    payload = reply.end_payload()
    if openai_objects.error_of_ending(payload):
        return refused_reply(payload)
    events = [*after(reply.events(), position, first=1)]
    # The calls of the site's tools, in steps, have their results.
    has_steps = any(event.kind == STEP for event in reply.events())
    calls = [openai_objects.tool_call(event.payload) for event in events if event.kind == TOOL_CALL and not has_steps]
    text = text_of(events) if position else reply.text
    return _completion(reply, _message(text, events, calls), openai_objects.finish_reason(reply.end_reason))


def answer_waiting(reply: Message, position: int = 0) -> HttpResponse:
    """Return a reply that waits: the calls for the client, or an error, if a person must allow a call."""
    received = received_events(reply)
    approval = next(event.payload for event in reversed(received) if event.kind == APPROVAL)
    by_id = {event.payload["id"]: event.payload for event in received if event.kind == TOOL_CALL}
    if not (calls := openai_objects.awaited_calls(approval, by_id)):
        status = openai_objects.STATUS_OF_WAITING
        return _with_error(private(HttpResponse()), status, openai_objects.error_of_waiting(), may_retry=False)
    events = [*after(received, position, first=1)]
    return _completion(reply, _message(text_of(events), events, calls), "tool_calls")


def _completion(reply: Message, message: dict[str, Any], finish_reason: str) -> HttpResponse:
    head = openai_objects.completion_head(str(reply.pk), reply.model, kind="chat.completion")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    usage = openai_objects.usage_of(reply.usage)
    return private(JsonResponse({**head, "choices": [choice], "usage": usage}))


def _message(text: str, events: Sequence[Event], calls: list[dict[str, Any]]) -> dict[str, Any]:
    reasoning = "".join(event.payload for event in events if event.kind == REASONING)
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    message |= {"reasoning_content": reasoning} if reasoning else {}
    return message | ({"tool_calls": calls} if calls else {})


unknown_view = openai_view(in_thread.always, **dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), not_found))
