"""Sends an alert to STREAMING_CHAT_ALERT_WEBHOOK_URL, signed as Standard Webhooks specifies.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from streaming_chat.conf import conf
from streaming_chat.models import Alert

# The specification recommends 15 to 30 s. Other alerts wait meanwhile.
TIMEOUT_SECONDS = 15.0
_PREFIX = "whsec_"
# Bytes of a key; the specification's limits.
_SHORTEST, _LONGEST = 24, 64


class DeliveryError(Exception):
    """Why an alert was not accepted. Its message is safe for the log."""


class _NoRedirects(HTTPRedirectHandler):
    """urllib would follow a redirect with a GET, and the alert would seem to have been accepted."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def is_address(url: str) -> bool:
    """Return whether a webhook can have this address."""
    try:
        parts = urlsplit(url)
        has_valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and has_valid_port


def key_of(secret: str) -> bytes:
    """Return the key in a secret such as `whsec_…`. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret of a webhook must be base64.") from error
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"the secret of a webhook must be {_PREFIX} and {_SHORTEST} to {_LONGEST} bytes in base64.")
    return key


def sign(alert_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """Return the header webhook-signature. timestamp: of this attempt, in seconds since 1970."""
    signed = b".".join([alert_id.encode(), str(timestamp).encode(), body])
    digest = hmac.digest(key_of(secret), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def body_of(alert: Alert) -> bytes:
    """Return what is sent: JSON with type, timestamp and data."""
    said = {"type": f"alert.{alert.kind}", "timestamp": alert.created_at.isoformat(), "data": alert.data}
    return json.dumps(said, separators=(",", ":")).encode()


def send(alert: Alert) -> None:
    """POST an alert. Blocking, for about TIMEOUT_SECONDS at most. Raises DeliveryError unless the answer is 2xx."""
    url, body, timestamp = conf.STREAMING_CHAT_ALERT_WEBHOOK_URL, body_of(alert), int(time.time())
    if not is_address(url):
        raise DeliveryError("STREAMING_CHAT_ALERT_WEBHOOK_URL is not an address.")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "streaming_chat",
        "webhook-id": str(alert.pk),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(str(alert.pk), timestamp, body, conf.STREAMING_CHAT_ALERT_WEBHOOK_SECRET),
    }
    request = Request(url, body, headers, method="POST")  # noqa: S310  (is_address has checked the scheme)
    try:
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_SECONDS):
            pass
    except HTTPError as error:
        raise DeliveryError(f"the receiver answered {error.code}") from error
    except URLError as error:
        raise DeliveryError(f"the receiver could not be reached: {type(error.reason).__name__}") from error
    except OSError as error:
        raise DeliveryError(f"the receiver could not be reached: {type(error).__name__}") from error
