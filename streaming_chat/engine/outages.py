"""What this process remembers of models that could not be reached, so that not every reply waits for them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from streaming_chat.exceptions import ProviderError

from .targets import Target

# For these errors, another model is asked.
_CODES = frozenset({"provider_unavailable", "provider_rate_limited", "provider_timeout", "provider_truncated"})
# How long a model is asked last, in seconds, unless its provider says when to come back.
_SECONDS = 30.0
_MOST_SECONDS = 600.0

_until: dict[str, float] = {}


def is_outage(error: ProviderError) -> bool:
    """Return whether another model may answer where this one failed."""
    return error.code in _CODES


def note(target: Target, error: ProviderError) -> None:
    """Remember for a while that a model cannot be reached."""
    now = time.monotonic()
    for name in [name for name, until in list(_until.items()) if until <= now]:
        _until.pop(name, None)
    seconds = _SECONDS if error.retry_after is None else error.retry_after
    _until[target.name] = now + min(seconds, _MOST_SECONDS)


def in_order(targets: Sequence[Target]) -> list[Target]:
    """Return the models in the order in which they are asked, reachable ones first."""
    now = time.monotonic()
    return sorted(targets, key=lambda target: _until.get(target.name, 0.0) > now)


def forget() -> None:
    """Forget all of them, for tests."""
    _until.clear()
