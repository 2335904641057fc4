"""What OpenAI's chat completions consist of, in chunks and whole, and their errors. No I/O.

Source: https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from streaming_chat.exceptions import error_text

from .endings import COMPLETED, STOPPED

# A reply whose ending is one of these was finished by its model. Every other one was cut off, for which there is one word.
_FINISHED = frozenset({"stop", "content_filter", "tool_calls"})
# One for all replies: it tells clients of a change on the provider's side, which the app does not know.
SYSTEM_FINGERPRINT = "fp_streaming_chat"

# Of a reply that waits for a person.
STATUS_OF_WAITING = 409
# By HTTP status; all others are invalid requests, or the server's.
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# By the code of an ending. The provider's own 401 is not the client's.
_STATUSES = {
    "provider_rate_limited": 429,
    "provider_unavailable": 503,
    "provider_timeout": 504,
    "provider_rejected": 400,
    "context_too_long": 400,
    "model_unknown": 404,
    "forbidden": 403,
    "empty": 502,
    "reasoning_only": 502,
    "shutdown": 503,
    "lease_expired": 503,
}


def completion_head(message_id: str, model: str, *, kind: str) -> dict[str, Any]:
    """Return the fields that all chunks of a reply have alike. kind: what `object` says."""
    return {
        "id": f"chatcmpl-{message_id}",
        "object": kind,
        # A UUIDv7 begins with the milliseconds since 1970.
        "created": (uuid.UUID(message_id).int >> 80) // 1000,
        "model": model,
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }


def finish_reason(end_reason: str) -> str:
    """Return OpenAI's word for the ending of a reply that did not fail: `length` for one that was cut off."""
    return end_reason if end_reason in _FINISHED else "length"


def tool_call(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call. payload: of its event, or its part."""
    function = {"name": payload.get("name", ""), "arguments": payload.get("arguments", "")}
    return {"id": payload.get("id", ""), "type": "function", "function": function}


def usage_of(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the tokens; None if they are unknown. usage: as in the native API."""
    if usage is None:
        return None
    prompt, completion = usage["input_tokens"] or 0, usage["output_tokens"] or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage["cached_input_tokens"] or 0},
        "completion_tokens_details": {"reasoning_tokens": usage["reasoning_tokens"] or 0},
    }


def error_of_ending(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the error of a reply that ended with one; None for any other. payload: see protocol/endings.py."""
    if payload["status"] in (COMPLETED, STOPPED):
        return None
    code = payload["error_code"] or "internal"
    return error_object(status_of_ending(code), code, error_text(code), ref=payload.get("ref", ""))


def error_of_waiting() -> dict[str, Any]:
    """Return the error of a reply that goes on only once a person has allowed a call, which no client of this API can do."""
    code = "approval_required"
    return error_object(STATUS_OF_WAITING, code, error_text(code))


def awaited_calls(approval: Mapping[str, Any], calls: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the tool calls for which a reply waits, if all of them are the client's; else none.

    approval: the payload of the event. calls: those of the reply, by their ids.
    """
    asked = approval["calls"]
    if not all(call["runs"] == "client" and call["id"] in calls for call in asked):
        return []
    return [tool_call(calls[call["id"]]) for call in asked]


def status_of_ending(code: str) -> int:
    """Return the HTTP status of a reply that failed before there was any of it."""
    return _STATUSES.get(code, 502 if code.startswith("provider_") else 500)


def error_object(status: int, code: str, message: str, *, param: str | None = None, ref: str = "") -> dict[str, Any]:
    """Return an error in OpenAI's shape. status: the HTTP status, also where the response has begun with another."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"message": message, "type": kind, "param": param, "code": code} | ({"ref": ref} if ref else {})
