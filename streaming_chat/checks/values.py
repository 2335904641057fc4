"""Checks the names of settings, and the values of all that are not dicts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)

from streaming_chat.conf import SETTINGS, conf

from .tag import TAG

_PREFIX = "STREAMING_CHAT_"
# nginx and most load balancers close a connection that is silent for this long (proxy_read_timeout), in seconds.
_PROXY_SILENCE_SECONDS = 60


@register(TAG)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Find names that begin like the app's settings and do not exist (W001)."""
    unknown = sorted(name for name in dir(settings) if name.startswith(_PREFIX) and name not in SETTINGS)
    return [Warning(f"There is no setting {name}.", hint=_nearest(name), id=f"{TAG}.W001") for name in unknown]


def _nearest(name: str) -> str:
    # Without the prefix, which would make any two names similar.
    near = get_close_matches(name.removeprefix(_PREFIX), [known.removeprefix(_PREFIX) for known in SETTINGS], n=1)
    return f"Did you mean {_PREFIX}{near[0]}?" if near else "Remove it: it has no effect."


@register(TAG)
def check_values(**kwargs: Any) -> list[CheckMessage]:
    """Find values of a wrong type or out of their range (E001); check_backends and check_prices check the dicts."""
    return [
        Error(
            f"{name} must be {setting.kind.wanted}, got {getattr(conf, name)!r:.60}.",
            hint=f"Its default is {setting.default!r}.",
            id=f"{TAG}.E001",
        )
        for name, setting in SETTINGS.items()
        if setting.kind.type is not dict and not _is_valid(name)
    ]


def _is_valid(name: str) -> bool:
    return SETTINGS[name].kind.accepts(getattr(conf, name))


@register(TAG)
def check_intervals(**kwargs: Any) -> list[CheckMessage]:
    """Find intervals that do not fit together (E002), or do not fit the proxies before the site (W002)."""
    if not all(_is_valid(f"{_PREFIX}{name}_SECONDS") for name in ("LEASE", "FLUSH", "HEARTBEAT")):
        return []
    return [*_check_lease(), *_check_heartbeat()]


def _check_lease() -> Iterator[CheckMessage]:
    lease, flush = conf.STREAMING_CHAT_LEASE_SECONDS, conf.STREAMING_CHAT_FLUSH_SECONDS
    if lease <= 3 * flush:
        yield Error(
            f"STREAMING_CHAT_LEASE_SECONDS ({lease}) must be more than 3 times STREAMING_CHAT_FLUSH_SECONDS ({flush}):"
            " otherwise a worker whose flush is late loses the lease on replies in progress.",
            hint=f"Set STREAMING_CHAT_LEASE_SECONDS to {max(15, math.ceil(30 * flush))}, or flush more often.",
            id=f"{TAG}.E002",
        )


def _check_heartbeat() -> Iterator[CheckMessage]:
    heartbeat = conf.STREAMING_CHAT_HEARTBEAT_SECONDS
    if heartbeat >= _PROXY_SILENCE_SECONDS:
        yield Warning(
            f"STREAMING_CHAT_HEARTBEAT_SECONDS is {heartbeat}: proxies close a stream that is silent for"
            f" {_PROXY_SILENCE_SECONDS} seconds.",
            hint="Use the default, 15.",
            id=f"{TAG}.W002",
        )


@register(TAG)
def check_redaction_patterns(**kwargs: Any) -> list[CheckMessage]:
    """Find patterns that are no regular expressions, or match nothing at all (E013)."""
    patterns: Any = conf.STREAMING_CHAT_REDACTION_PATTERNS
    if not isinstance(patterns, dict):
        return [_pattern_error("STREAMING_CHAT_REDACTION_PATTERNS must be a dict.")]
    wrong = [name for name, pattern in patterns.items() if not _is_pattern(name, pattern)]
    return [
        _pattern_error(
            f"STREAMING_CHAT_REDACTION_PATTERNS[{name!r}] is not a regular expression that matches some text."
        )
        for name in wrong
    ]


def _is_pattern(name: Any, pattern: Any) -> bool:
    try:
        return bool(name) and isinstance(name, str) and not re.compile(pattern).match("")
    except (re.error, TypeError):
        return False


def _pattern_error(message: str) -> CheckMessage:
    hint = 'Write a name for people and an expression: {"Customer numbers": r"\\bC-\\d{6}\\b"}.'
    return Error(message, hint=hint, id=f"{TAG}.E013")


@register(TAG)
def check_telemetry(**kwargs: Any) -> list[CheckMessage]:
    """Find telemetry without its package (E011)."""
    if not conf.STREAMING_CHAT_TELEMETRY or find_spec("opentelemetry"):
        return []
    hint = 'Install it: pip install "streaming-chat[otel]".'
    return [Error("STREAMING_CHAT_TELEMETRY needs the package opentelemetry-api.", hint=hint, id=f"{TAG}.E011")]
