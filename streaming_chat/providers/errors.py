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

from .error_texts import MESSAGE_KEYS, facts_of, layers, message_of, text_in, word_of
from .parsing import MAX_ID, clean, parse

# Status -> our code, and whether the same request may succeed if it is sent again now.
STATUS_CODES = {
    401: ("provider_auth", False),
    402: ("provider_auth", False),
    403: ("provider_auth", False),
    404: ("provider_rejected", False),
    408: ("provider_timeout", True),
    409: ("provider_unavailable", True),
    413: ("context_too_long", False),
    424: ("provider_error", True),  # Text Generation Inference: the generation failed.
}

_TOO_LONG = ("context_too_long", False)
_NO_CREDIT = ("provider_auth", False)
_NO_MODEL = ("model_unknown", False)
_NO_KEY = ("provider_auth", False)

# A word in an error's type or code -> the same, whatever the status. Without the underscores, since some write
# `ModelNotFound`. The first that is found applies.
CAUSES = {
    "context_length": _TOO_LONG,
    "context_window": _TOO_LONG,
    "request_too_large": _TOO_LONG,
    "tokens_too_long": _TOO_LONG,
    "characters_too_long": _TOO_LONG,
    "string_above_max_length": _TOO_LONG,
    "insufficient_quota": _NO_CREDIT,
    "exceeded_current_quota": _NO_CREDIT,
    "insufficient_balance": _NO_CREDIT,
    "insufficient_credit": _NO_CREDIT,
    "arrear": _NO_CREDIT,
    "billing": _NO_CREDIT,
    "credit_balance": _NO_CREDIT,
    "model_not_found": _NO_MODEL,
    "deployment_not_found": _NO_MODEL,
    "invalid_model": _NO_MODEL,
    "unknown_model": _NO_MODEL,
}
# The numbers of Zhipu: https://docs.bigmodel.cn/cn/api/api-code
NUMBERS = {
    "1113": _NO_CREDIT,
    "1211": _NO_MODEL,
    "1261": _TOO_LONG,
    "1301": ("provider_rejected", False),
    "1302": ("provider_rate_limited", True),
    "1303": ("provider_rate_limited", True),
    "1305": ("provider_rate_limited", True),
    "1304": ("provider_rate_limited", False),
    "1308": ("provider_rate_limited", False),
    "1309": _NO_CREDIT,
    "1310": ("provider_rate_limited", False),
    "1312": ("provider_rate_limited", True),
}
# The same, if neither that nor the status says more.
ERROR_WORDS = {
    "rate_limit": ("provider_rate_limited", True),
    "too_many_requests": ("provider_rate_limited", True),
    "throttl": ("provider_rate_limited", True),
    "authentication": ("provider_auth", False),
    "invalid_api_key": ("provider_auth", False),
    "permission": ("provider_auth", False),
    "access_denied": ("provider_auth", False),
    "overloaded": ("provider_unavailable", True),
    "unavailable": ("provider_unavailable", True),
    "timeout": ("provider_timeout", True),
    "not_found": ("provider_rejected", False),
    "invalid_request": ("provider_rejected", False),
    "bad_request": ("provider_rejected", False),
    "invalid_parameter": ("provider_rejected", False),
    "validation": ("provider_rejected", False),
    "invalid_prompt": ("provider_rejected", False),
    "policy": ("provider_rejected", False),
    "content_filter": ("provider_rejected", False),
    "data_inspection": ("provider_rejected", False),
    "server_error": ("provider_error", True),
    "api_error": ("provider_error", True),
}

# No repetition in these patterns is unbounded, so that the time to search grows with the text and no faster.
# Most servers report these causes only in their message ("prompt is too long: 210000 tokens > 200000 maximum").
_MESSAGES = (
    (
        re.compile(
            r"context.{0,20}(length|window|size|limit)|reduce the length|string too long"
            r"|(prompt|input|request)( tokens?| length| entity){0,3} (is |was )?too (long|large)"
            r"|too many (input )?tokens(?!,? please wait)"
            r"|exceeds? (the )?(maximum|max|model)( allowed)? ((number of )?(input )?tokens|(input |prompt )?length)"
            r"|(token count|input length|token limit).{0,60}exceed|exceed.{0,20}token limit"
            r"|max(imum)? (prompt|input|sequence|model) length|max input (characters|tokens)|range of input length"
            r"|must have less than \d{1,12} tokens|tokens` ?\+ ?`max_new_tokens|inputs`? tokens \+|length limit.{0,20}exceed"
            r"|(prompt|输入|上下文|请求).{0,12}(超长|过长|超(过|出).{0,12}(长度|上限|限制))",
            re.IGNORECASE,
        ),
        _TOO_LONG,
    ),
    (
        re.compile(
            r"credit balance|insufficient (account )?(balance|credits?|funds?)|exceeded .{0,30}credits"
            r"|\b(no|out of|used all|any|more|requires?|purchase|add) .{0,20}credits?\b|(spending|credit|billing hard) limit"
            r"|specified api usage limits|check your billing|payment required|account.{0,60}(good standing|suspended|"
            r"overdue|arrear|not active|deactivated|disabled)|organization has been disabled|recharge|欠费|余额不足|充值",
            re.IGNORECASE,
        ),
        _NO_CREDIT,
    ),
    (
        re.compile(
            r"(model|deployment).{0,80}(not.{0,10}(found|exist|available)|unknown|been (decommissioned|deprecated|retired))"
            r"|(unknown|invalid|no such|not a valid|unsupported) model|not found the model|no endpoints found|^model: "
            r"|model identifier is invalid|模型.{0,20}不存在",
            re.IGNORECASE,
        ),
        _NO_MODEL,
    ),
    (re.compile(r"\bapi[ _-]?key\b", re.IGNORECASE), _NO_KEY),
)
# A limit per minute that one request exceeds: it never succeeds. An ordinary one says how much was used, too.
_ABOVE_LIMIT = re.compile(r"request too large|must be reduced in order", re.IGNORECASE)
_REQUESTED = re.compile(r"limit:? ?([\d,]{1,20}).{0,60}requested:? ?([\d,]{1,20})", re.IGNORECASE)
_BUSY = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
_BETWEEN = re.compile(r"[^a-z0-9 ]")
_WORD_KEYS = ("type", "code", "status", "error_type", "error_code", "status_code")

# An exception is recognised by the names of its classes, so that aiohttp does not have to be imported.
_TIMEOUTS = re.compile(r"Timeout")
_UNREADABLE = re.compile(r"Decod|ContentEncoding|InvalidHeader|BadStatusLine|LineTooLong|JSON|ResponseValidation")


def opening_failure(error: Exception) -> ProviderError:
    """Return the failure that an exception before the first byte means."""
    if isinstance(error, ProviderError):
        return error
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


def refusal(status: int, headers: Any, body: bytes, request_id_header: str) -> ProviderError:
    """Return the failure that an unsuccessful response means."""
    error = _content(body)
    code, retryable = error_code(status, error)
    return ProviderError(
        code,
        retryable=retryable,
        retry_after=retry_after(headers),
        status=status,
        request_id=clean(headers.get(request_id_header), MAX_ID),
        detail=facts_of(error),
        # Some servers quote the key that they refuse.
        message="" if status in (401, 403) else message_of(error),
    )


def _content(body: bytes) -> Any:
    """Return what the body of an error contains: the value of its JSON, or its text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return parse(text.encode())
    except ValueError:
        return text


def error_code(status: int | None, error: Any, *, inside: bool = False) -> tuple[str, bool]:
    """Return our code of an error, and whether the same request may succeed if it is sent again now.

    status: of the HTTP response, or the one that the error contains. error: the decoded JSON, of any shape.
    inside: the error was sent in a stream that had begun. Then a server's own failure is `provider_error`.
    """
    words, numbers, message = _words_of(error)
    if found := _cause(status, words, numbers, message):
        return found
    if status == 429:
        return "provider_rate_limited", True
    if status in STATUS_CODES and status != 404:
        return STATUS_CODES[status]
    if inside or (status is not None and status < 500):
        for word, meaning in ERROR_WORDS.items():
            if _squeezed(word) in words:
                return meaning
    if status is None and _BUSY.search(message):
        return "provider_rate_limited", True
    return _by_status(status)


def _cause(status: int | None, words: str, numbers: set[str], message: str) -> tuple[str, bool] | None:
    """Return what the error itself says was wrong with the request, the account or the model; None if it does not."""
    if status is not None and status > 500:
        return None
    for number in numbers & NUMBERS.keys():
        return NUMBERS[number]
    for word, meaning in CAUSES.items():
        if _squeezed(word) in words:
            return meaning
    if status == 429:
        return _limit_cause(message)
    if status in (401, 402, 413):
        return None
    return next((meaning for pattern, meaning in _MESSAGES if pattern.search(message)), None)


def _limit_cause(message: str) -> tuple[str, bool] | None:
    """Return what a 429 means if it is no ordinary rate limit."""
    if _ABOVE_LIMIT.search(message):
        return _TOO_LONG
    if amounts := _REQUESTED.search(message):
        limit, requested = (int(amount.replace(",", "") or 0) for amount in amounts.groups())
        if requested > limit:
            return _TOO_LONG
    return _NO_CREDIT if _MESSAGES[1][0].search(message) else None


def _by_status(status: int | None) -> tuple[str, bool]:
    if status is None or status < 300:
        return "provider_error", True
    if status >= 500:
        return "provider_unavailable", True
    return STATUS_CODES.get(status, ("provider_rejected", False))


def _words_of(error: Any) -> tuple[str, set[str], str]:
    """Return the types and codes of an error in one squeezed string, its numbers, and its messages in one line."""
    words: list[str] = []
    messages: list[Any] = []
    for layer in layers(error):
        if isinstance(layer, dict):
            words += [word for key in _WORD_KEYS if (word := word_of(layer.get(key)))]
            messages += [layer.get(key) for key in MESSAGE_KEYS]
        elif isinstance(layer, str):
            messages.append(layer)
    numbers = {word for word in words if word.isdecimal()}
    return _squeezed(" ".join(words)), numbers, " ".join(text_in(messages).split())


def _squeezed(words: str) -> str:
    return _BETWEEN.sub("", words.lower())


def is_bare_error(payload: dict[str, Any]) -> bool:
    """Return whether an object without `choices` and `error` is an error all the same, as vLLM and SGLang send it."""
    base = payload.get("base_resp")  # MiniMax.
    if payload.get("object") == "error" or (isinstance(base, dict) and base.get("status_code")):
        return True
    return "choices" not in payload and any(isinstance(payload.get(key), str) for key in ("message", "detail"))


def status_in(error: Any) -> int | None:
    """Return the HTTP status that an error object contains, if any."""
    if isinstance(error, dict):
        for key in ("status_code", "code", "status", "http_status"):
            value = error.get(key)
            if isinstance(value, str) and len(value) == 3 and value.isdecimal():
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

    The innermost cause decides, since aiohttp reports headers that it cannot read as it does an error response.
    """
    root = error
    while isinstance(root.__cause__, Exception):  # A timeout is caused by a CancelledError, which tells nothing.
        root = root.__cause__
    names = [base.__name__ for base in type(root).__mro__]
    if isinstance(root, UnicodeError | json.JSONDecodeError) or any(map(_UNREADABLE.search, names)):
        return "provider_protocol", False
    if isinstance(root, TimeoutError) or any(map(_TIMEOUTS.search, names)):
        return timed_out, True
    if isinstance(root, OSError | EOFError) or type(root).__module__.partition(".")[0] == "aiohttp":
        return lost, True
    return "internal", False


def _names(error: BaseException) -> str:
    """Return the classes of an exception and its causes, for the log; never their messages."""
    names = []
    cause: BaseException | None = error
    while cause is not None:
        names.append(type(cause).__name__)
        cause = cause.__cause__
    return " < ".join(names)
