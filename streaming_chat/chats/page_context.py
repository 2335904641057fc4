"""What a page of the site tells about itself: signed into the page, sent with each message, and kept with it if verified.

The signature says that the site wrote it, for this owner, within the last day. The browser can read it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core import signing

from streaming_chat.accounts.owners import Owner
from streaming_chat.exceptions import APIError
from streaming_chat.protocol.storable_text import storable_value

_SALT = "streaming_chat.page_context"
_MAX_AGE = timedelta(days=1)
MAX_BYTES = 4_096
# Signed, in Base64.
MAX_SIGNED_CHARS = 2 * MAX_BYTES


def sign(owner: Owner, metadata: Any = None, greeting: str = "") -> str:
    """Return a page's context as its element sends it; "" for none.

    metadata: a dict of what JSON has. greeting: what the assistant says first. Raises ValueError for another type, and for
    more than 4,096 bytes.
    """
    if metadata is not None and not isinstance(metadata, dict):
        raise ValueError(f"metadata must be a dict, got {metadata!r}")
    context = {name: value for name, value in (("metadata", metadata), ("greeting", str(greeting))) if value}
    if not context:
        return ""
    try:
        size = len(json.dumps(context).encode())
    except TypeError as error:
        raise ValueError(f"metadata must have what JSON has: {error}") from error
    if size > MAX_BYTES:
        raise ValueError(f"metadata and greeting must have at most {MAX_BYTES} bytes, got {size}")
    return signing.dumps({"for": _subject(owner), "context": context}, salt=_SALT, compress=True)


def read(signed: str, owner: Owner) -> dict[str, Any]:
    """Return the context, `{"metadata": …, "greeting": …}` with what the page has. Raises APIError: 422."""
    try:
        signed_object = signing.loads(signed, salt=_SALT, max_age=_MAX_AGE)
    except signing.SignatureExpired as error:
        raise APIError(422, "context_expired") from error
    except signing.BadSignature as error:
        raise APIError(422, "context_invalid") from error
    if signed_object["for"] != _subject(owner):
        # The page was made before the user signed in or out.
        raise APIError(422, "context_expired")
    context: dict[str, Any] = storable_value(signed_object["context"])
    return context


def _subject(owner: Owner) -> str:
    """Return whom a context is for. A visitor has no key before the first message."""
    return owner.key if owner.user is not None else "visitor"
