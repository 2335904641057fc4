"""Creates and recognises access tokens: `sc_<8 characters>_<32 characters>`.

The 8 characters find the row. All of the token is recognised by an HMAC-SHA256 with the site's SECRET_KEY, or one of its
SECRET_KEY_FALLBACKS. A function that has a token as text makes no query, since an error page shows local variables.
"""

from __future__ import annotations

import re
import secrets
import string
import uuid
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.db import OperationalError
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.exceptions import Unshown
from streaming_chat.models import AccessToken

_ALPHABET = string.ascii_letters + string.digits
_TOKEN = re.compile(r"sc_([A-Za-z0-9]{8})_[A-Za-z0-9]{32}")
# More than a person needs; without a limit, one could fill the table.
MAX_TOKENS = 50
# `last_used_at` is written at most this often.
_USE_INTERVAL = timedelta(minutes=1)


class Presented(NamedTuple):
    """What a token in a request is looked up by. digests: with each of the site's keys, the present one first."""

    prefix: str
    digests: list[str]


def present(text: str) -> Presented | None:
    """Return what a token is looked up by, None for a text that is no token."""
    if (match := _TOKEN.fullmatch(text)) is None:
        return None
    return Presented(match[1], [_digest(text, key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def create_token(row: AccessToken) -> Unshown:
    """Save a new row, and return its token, which cannot be read again."""
    token = Unshown(f"sc_{_random(8)}_{_random(32)}")
    _set_secret(row, token)
    row.save(force_insert=True, using=live_database())
    return token


def has_room(owner: Any) -> bool:
    """Return whether the owner may have one more token."""
    return AccessToken.objects.using(live_database()).filter(owner=owner).count() < MAX_TOKENS


def find_token(presented: Presented) -> AccessToken | None:
    """Return the token with its owner, and note its use; None if it is unknown, expired or of an inactive owner."""
    rows = AccessToken.objects.using(live_database()).select_related("owner")
    token = rows.filter(prefix=presented.prefix).first()
    if token is None or not is_valid(token) or not _matches(token, presented):
        return None
    _note_use(token, presented)
    return token


def is_valid(token: AccessToken) -> bool:
    """Return whether a token is neither expired nor of an inactive owner."""
    return token.owner.is_active and (token.expires_at is None or token.expires_at > timezone.now())


def is_valid_now(pk: uuid.UUID) -> bool:
    """Return whether a token is still there and valid."""
    token = AccessToken.objects.using(live_database()).select_related("owner").filter(pk=pk).first()
    return token is not None and is_valid(token)


def _matches(token: AccessToken, presented: Presented) -> bool:
    return any(constant_time_compare(token.digest, digest) for digest in presented.digests)


def _note_use(token: AccessToken, presented: Presented) -> None:
    """Save when the token was used. A database that is busy or read-only does not fail the request."""
    recently = timezone.now() - _USE_INTERVAL
    if token.last_used_at is not None and token.last_used_at > recently:
        return
    unused = AccessToken.objects.using(live_database()).filter(pk=token.pk)
    unused = unused.filter(Q(last_used_at=None) | Q(last_used_at__lte=recently))
    # With the present key, so that a token in use outlives a key that was one of SECRET_KEY_FALLBACKS.
    save = partial(unused.update, last_used_at=Now(), digest=presented.digests[0])
    try:
        write_transaction(save)
    except OperationalError:
        return


def _set_secret(row: AccessToken, token: str) -> None:
    if (presented := present(token)) is not None:
        row.prefix, row.digest = presented.prefix, presented.digests[0]


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(text: str, key: Any) -> str:
    return salted_hmac("streaming_chat.access_tokens", text, secret=key, algorithm="sha256").hexdigest()
