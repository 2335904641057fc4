"""Parses JSON bodies and query strings: limited in size, of a known shape, each error named by its field.

A check says as JSON Schema what it accepts, so that openapi.json describes the fields that are parsed.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils.translation import gettext as _

from streaming_chat.conf import conf
from streaming_chat.exceptions import APIError
from streaming_chat.protocol.storable_text import storable, storable_value

_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# No id, position or number of the API has more than 64 bits; int() takes quadratic time.
_MAX_DIGITS = 19
# Python's own limit is about 1,000 levels, differs between versions, and raises RecursionError anywhere later.
_MAX_DEPTH = 32
# The largest body in bytes, unless longer messages are allowed; and what a body has in addition to its message.
_MIN_BODY_BYTES = 1_048_576
_ENVELOPE_BYTES = 65_536
# A character outside the BMP is two escapes (\ud83c\udf89) in ASCII JSON, and four of three bytes each in a form.
_BYTES_PER_CHAR = 12
# A body may have 100,000 unknown fields; the answer must not be longer than what it is about.
_MAX_REPORTED = 10
_TOO_LONG = "Must have at most {longest} characters, got {count}."


@dataclass(frozen=True)
class Check:
    """A check of a field: called with a value, it returns it cleaned, or raises ValueError with what was expected.

    schema: the values that pass, as JSON Schema.
    """

    clean: Callable[[Any], Any]
    schema: dict[str, Any]

    def __call__(self, value: Any) -> Any:
        """Return the value cleaned. Raises ValueError."""
        return self.clean(value)


class Fields(NamedTuple):
    """The fields of a body or of a query string, and which of them are required."""

    checks: dict[str, Check]
    required: Collection[str] = ()


def check(**schema: Any) -> Callable[[Callable[[Any], Any]], Check]:
    """Decorator: make a check of a function. schema: keywords of JSON Schema."""
    return lambda clean: Check(clean, schema)


def read_body(
    request: HttpRequest, checks: dict[str, Check], required: Collection[str] = (), *, ignores_unknown: bool = False
) -> dict[str, Any]:
    """Return the JSON object of a request, checked; {} for a request without a body if no field is required.

    ignores_unknown: fields without a check are left out.
    Raises APIError: 415 for another type, 413 beyond max_body_bytes(), 422 with `fields` for everything else.
    """
    body = _parse(request) if required or has_body(request) else {}
    if ignores_unknown:
        body = {name: value for name, value in body.items() if name in checks}
    return cleaned(body, checks, required)


def read_query(request: HttpRequest, checks: dict[str, Check], required: Collection[str] = ()) -> dict[str, Any]:
    """Return the parameters of the query string that have a check, checked. Raises APIError: 422."""
    return cleaned({name: request.GET[name] for name in checks if name in request.GET}, checks, required)


def cleaned(values: dict[str, Any], checks: dict[str, Check], required: Collection[str] = ()) -> dict[str, Any]:
    """Return these values, checked by name. Raises APIError: 422 with `fields`."""
    errors: dict[str, str] = {}
    kept: dict[str, Any] = {}
    for name in checks.keys() & values.keys():
        try:
            kept[name] = checks[name](values[name])
        except ValueError as error:
            errors[name] = str(error)
    for name in required:
        if name not in values:
            errors[name] = "This field is required."
    if errors := errors | _unknown_fields(values, checks):
        raise APIError(422, "invalid", fields=errors)
    return kept


def _unknown_fields(values: dict[str, Any], checks: dict[str, Check]) -> dict[str, str]:
    """Return the errors of the first unknown fields, by their names without what no database stores."""
    known = ", ".join(checks) or "none"
    unknown = itertools.islice((name for name in values if name not in checks), _MAX_REPORTED)
    return {storable(name[:64]): f"Unknown field; the fields are: {known}." for name in unknown}


def no_fields() -> Fields:
    """Return the fields of a body that must be empty."""
    return Fields({})


def has_body(request: HttpRequest) -> bool:
    """Return whether a request has a body, which is read only if it is JSON.

    The CSRF check looks for a token in forms; after that Django does not return the body.
    """
    if request.content_type == "application/json":
        return bool(request.body)
    return request.META.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in request.META


def max_body_bytes() -> int:
    """Return the size of the largest body that is read: room for the longest message in any encoding."""
    return max(_MIN_BODY_BYTES, _BYTES_PER_CHAR * conf.STREAMING_CHAT_MAX_MESSAGE_CHARS + _ENVELOPE_BYTES)


def require_json(request: HttpRequest) -> None:
    """Raise APIError unless the body says it is JSON and is not too large."""
    if request.content_type != "application/json":
        raise APIError(415, "unsupported_media_type")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > max_body_bytes():
        raise APIError(413, "too_large")


def _parse(request: HttpRequest) -> dict[str, Any]:
    require_json(request)
    try:
        raw = request.body
    except (OSError, ValueError):
        # Django closes the body of a client that has left.
        raise APIError(422, "invalid", fields={"body": "The body is incomplete."}) from None
    if len(raw) > max_body_bytes():
        raise APIError(413, "too_large")
    try:
        # Python would also take UTF-16 and UTF-32, which JSON between systems may not be: RFC 8259, 8.1.
        body = json_value(raw.decode("utf-8-sig"))
    except ValueError:
        raise APIError(422, "invalid", fields={"body": "Must be a JSON object."}) from None
    if not isinstance(body, dict):
        raise APIError(422, "invalid", fields={"body": f"Must be a JSON object, got {_kind(body)}."})
    return body


def json_value(text: str) -> Any:
    """Return the value of JSON, within the limits of a body. Raises ValueError."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_int, parse_float=_float)
        _require_shallow(value)
    except RecursionError:
        raise ValueError(f"Must have at most {_MAX_DEPTH} levels.") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"Numbers may have {_MAX_DIGITS} digits.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large.")
    return value


def _require_shallow(value: Any, depth: int = 0) -> None:
    """Raise ValueError if a value is nested too deeply."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"Must have at most {_MAX_DEPTH} levels.")
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        _require_shallow(item, depth + 1)


def text(longest: int, *, shortest: int = 0, too_long: str = _TOO_LONG) -> Check:
    """Return a check for a string of so many code points, made storable; only blanks count as empty."""

    @check(type="string", maxLength=longest, **({"minLength": shortest, "pattern": r"\S"} if shortest else {}))
    def clean(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"Must be a string, got {_kind(value)}.")
        value = storable(value)
        if len(value) > longest:
            raise ValueError(too_long.format(longest=longest, count=len(value)))
        if len(value.strip()) < shortest:
            raise ValueError("Must not be empty.")
        return value

    return clean


def message_text() -> Check:
    """Return the check for the text of a message."""
    # Translated: people see this one, not only programs.
    too_long = _("The message is too long: it has {count} characters, and the limit is {longest}.")
    return text(conf.STREAMING_CHAT_MAX_MESSAGE_CHARS, shortest=1, too_long=too_long)


def optional(check: Check) -> Check:
    """Return a check that lets null through."""
    schema = {"anyOf": [check.schema, {"type": "null"}]}
    return Check(lambda value: None if value is None else check(value), schema)


@check(type="boolean")
def boolean(value: Any) -> bool:
    """Check true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"Must be true or false, got {_kind(value)}.")
    return value


def one_of(*choices: Any) -> Check:
    """Return a check for one of these values, of the same type: 1.0 and true are not 1."""

    # An enum must not be empty: JSON Schema Validation, 6.1.2.
    @check(**({"enum": list(choices)} if choices else {"type": "string"}))
    def clean(value: Any) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError("Must be one of: " + ", ".join(map(str, choices)) + ".")
        return value

    return clean


@check(type="string", pattern=f"^{_CLIENT_ID.pattern}$")
def client_id(value: Any) -> str:
    """Check the id that makes a send idempotent."""
    if not isinstance(value, str) or not _CLIENT_ID.fullmatch(value):
        raise ValueError("Must have 1 to 64 characters of A-Z, a-z, 0-9, _ and -.")
    return value


@check(type="string", format="uuid")
def identifier(value: Any) -> uuid.UUID:
    """Check a UUID."""
    try:
        return uuid.UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"Must be a UUID, got {_kind(value)}.") from None


def page_limit(largest: int) -> Check:
    """Return a check for the number of rows of a page, in a query string or a body."""

    @check(type="integer", minimum=1, maximum=largest)
    def clean(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 3:
            value = int(value)
        if type(value) is not int or not 1 <= value <= largest:
            raise ValueError(f"Must be 1 to {largest}.")
        return value

    return clean


@check(type="object")
def metadata(value: Any) -> dict[str, Any]:
    """Check an object of at most 4 KB of JSON."""
    if not isinstance(value, dict):
        raise ValueError(f"Must be an object, got {_kind(value)}.")
    size = len(json.dumps(value).encode())
    if size > 4096:
        raise ValueError(f"Must have at most 4096 bytes of JSON, got {size}.")
    return storable_value(value)


def _kind(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), "null")
