"""Classifies a provider's failures: by the status, by the words of its error, by the class of an exception."""

from __future__ import annotations

import contextlib
import json
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from streaming_chat.exceptions import ProviderError

from .parsing import MAX_REQUEST_ID, clean

# Status -> our code, and whether the same request may succeed if it is sent again now.
STATUS_CODES = {
    401: ("provider_auth", False),
    402: ("provider_auth", False),
    403: ("provider_auth", False),
    404: ("provider_rejected", False),
    408: ("provider_timeout", True),
    409: ("provider_unavailable", True),
    413: ("context_too_long", False),
}

# A word in an error's type or code -> the same. The first that is found applies.
ERROR_WORDS = {
    "insufficient_quota": ("provider_rate_limited", False),
    "rate_limit": ("provider_rate_limited", True),
    "context_length": ("context_too_long", False),
    "request_too_large": ("context_too_long", False),
    "model_not_found": ("model_unknown", False),
    "authentication": ("provider_auth", False),
    "invalid_api_key": ("provider_auth", False),
    "permission": ("provider_auth", False),
    "billing": ("provider_auth", False),
    "overloaded": ("provider_unavailable", True),
    "unavailable": ("provider_unavailable", True),
    "timeout": ("provider_timeout", True),
    "not_found": ("provider_rejected", False),
    "invalid_request": ("provider_rejected", False),
    "server_error": ("provider_error", True),
    "api_error": ("provider_error", True),
}

# Most servers report these causes only in their message ("prompt is too long: 210000 tokens > 200000 maximum").
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|(prompt|input|request) (is|was) too (long|large)|too many (input )?tokens"
    r"|reduce the length|exceeds the maximum (number of )?(input )?tokens|token count.{0,40}exceed",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,80}(not.{0,10}(found|exist|available)|unknown|decommissioned)"
    r"|(unknown|invalid|no such|not a valid) model|^model: ",
    re.IGNORECASE,
)
_NO_KEY = re.compile(r"\bapi[ _-]?key\b", re.IGNORECASE)

# An exception is recognised by the names of its classes, so that no SDK has to be imported.
_TIMEOUTS = re.compile(r"Timeout")
_CONNECTION_MODULES = ("aiohttp", "httpx2", "httpx", "httpcore2", "httpcore", "h11", "anyio", "ssl", "socket")
_UNREADABLE = re.compile(r"Decod|ContentEncoding|InvalidHeader|BadStatusLine|LineTooLong|JSON|ResponseValidation")


def opening_failure(error: Exception, request_id_header: str) -> ProviderError:
    """Return the failure that an exception before the first byte means."""
    if isinstance(error, ProviderError):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 300:
        return _refused(error, status, request_id_header)
    code, retryable = _connection_code(error, timed_out="provider_timeout", lost="provider_unavailable")
    return ProviderError(code, retryable=retryable, detail=_names(error))


def reading_failure(error: Exception, request_id: str) -> ProviderError:
    """Return the failure that an exception in the middle of a body means."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(
        error, RuntimeError
    ):  # aiohttp's "Connection closed.", raised by a read after the connection was lost.
        error = ConnectionResetError()
    code, retryable = _connection_code(error, timed_out="provider_stall", lost="provider_truncated")
    return ProviderError(code, retryable=retryable, request_id=request_id, detail=_names(error))


def _refused(error: Any, status: int, request_id_header: str) -> ProviderError:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    body = getattr(error, "body", None)
    code, retryable = error_code(status, body)
    return ProviderError(
        code,
        retryable=retryable,
        retry_after=retry_after(headers),
        status=status,
        request_id=clean(headers.get(request_id_header), MAX_REQUEST_ID),
        detail=type(error).__name__,
    )


def error_code(status: int | None, error: Any, *, inside: bool = False) -> tuple[str, bool]:
    """Return our code of an error, and whether the same request may succeed if it is sent again now.

    status: of the HTTP response, or the one that the error contains. error: the decoded JSON, of any shape.
    inside: the error was sent in a stream that had begun. Then a server's own failure is `provider_error`.
    """
    error = error[0] if isinstance(error, list) and error else error  # Gemini sends a list.
    inner = error.get("error", error) if isinstance(error, dict) else error
    words, message = _words_of(inner)
    if status in (None, 400, 404, 413, 422, 500) and message:
        if _TOO_LONG.search(message):
            return "context_too_long", False
        if status != 413 and _NO_MODEL.search(message):
            return "model_unknown", False
        if _NO_KEY.search(message):
            return "provider_auth", False
    if status == 429:
        return "provider_rate_limited", "insufficient_quota" not in words
    if status in STATUS_CODES and status != 404:
        return STATUS_CODES[status]
    if inside or (status is not None and status < 500):
        for word, meaning in ERROR_WORDS.items():
            if word in words:
                return meaning
    return _by_status(status)


def _by_status(status: int | None) -> tuple[str, bool]:
    if status is None or status < 300:
        return "provider_error", True
    if status >= 500:
        return "provider_unavailable", True
    return STATUS_CODES.get(status, ("provider_rejected", False))


def _words_of(error: Any) -> tuple[str, str]:
    """Return the type and codes of an error in one lower-case string, and its message."""
    if not isinstance(error, dict):
        return "", error if isinstance(error, str) else ""
    words = [error.get(key) for key in ("type", "code", "status", "error_type")]
    details = error.get("details")
    if isinstance(details, dict):
        words.append(details.get("error_code"))
    message = error.get("message")
    return " ".join(str(word) for word in words if word).lower(), message if isinstance(message, str) else ""


def status_in(error: Any) -> int | None:
    """Return the HTTP status that an error object contains, if any."""
    if isinstance(error, dict):
        for key in ("status_code", "code", "status", "http_status"):
            value = error.get(key)
            if isinstance(value, str) and value.isdecimal():
                value = int(value)
            if isinstance(value, int) and 300 <= value < 600:
                return value
    return None


def retry_after(headers: Any) -> float | None:
    """Return the seconds to wait, which a provider sends as milliseconds, seconds or an HTTP date; None if it does not."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(TypeError, ValueError):
            seconds = float(headers.get(name)) * unit
            if math.isfinite(seconds):
                return max(seconds, 0.0)
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        moment = parsedate_to_datetime(headers.get("retry-after"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _connection_code(error: BaseException, *, timed_out: str, lost: str) -> tuple[str, bool]:
    """Return the code of an exception that is not an HTTP status.

    The innermost cause decides, since the SDKs' transport reports a disconnect as ConnectTimeout.
    """
    root = error
    while isinstance(root.__cause__, Exception):  # A timeout is caused by a CancelledError, which tells nothing.
        root = root.__cause__
    names = [base.__name__ for base in type(root).__mro__]
    if isinstance(root, UnicodeError | json.JSONDecodeError) or any(map(_UNREADABLE.search, names)):
        return "provider_protocol", False
    if isinstance(root, TimeoutError) or any(map(_TIMEOUTS.search, names)):
        return timed_out, True
    module = type(root).__module__.partition(".")[0]
    if isinstance(root, OSError | EOFError) or module in _CONNECTION_MODULES:
        return lost, True
    return ("provider_error", True) if module in ("openai", "anthropic") else ("internal", False)


def _names(error: BaseException) -> str:
    """Return the classes of an exception and its causes, for the log; never their messages."""
    names = []
    cause: BaseException | None = error
    while cause is not None:
        names.append(type(cause).__name__)
        cause = cause.__cause__
    return " < ".join(names)
