"""Checks what a site that lets everybody chat needs, and that its cost has a limit."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)

from streaming_chat.conf import DEFAULT_QUOTA, STRINGS, conf

from .site import SESSION_MIDDLEWARE, has_middleware
from .tag import TAG


@register(TAG)
def check_visitors(**kwargs: Any) -> list[CheckMessage]:
    """Find visitors who cannot get an id (E008), and spending without a limit (W008)."""
    found: list[CheckMessage] = []
    if conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True and not has_middleware(SESSION_MIDDLEWARE):
        found.append(
            Error(
                "STREAMING_CHAT_ALLOW_ANONYMOUS is True and MIDDLEWARE has no SessionMiddleware, so visitors get 401.",
                hint=f"Add {SESSION_MIDDLEWARE}: a visitor's id is kept in the session.",
                id=f"{TAG}.E008",
            )
        )
    if spending := _unlimited_spending():
        problem, hint = spending
        found.append(Warning(f"{problem}: the cost has no limit.", hint=hint, id=f"{TAG}.W008"))
    return found


def _unlimited_spending() -> tuple[str, str] | None:
    """Return which setting lets people spend more than the site has planned for, and what to do about it."""
    quota = conf.STREAMING_CHAT_QUOTA
    if quota is None and conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True:
        problem = "STREAMING_CHAT_ALLOW_ANONYMOUS lets everybody chat, and STREAMING_CHAT_QUOTA is None"
        return problem, "Remove STREAMING_CHAT_QUOTA: its default limits visitors. Or choose limits of your own."
    models = conf.STREAMING_CHAT_MODELS
    wildcards = [model for model in models if model.endswith(":*")] if STRINGS.accepts(models) else []
    if quota not in (None, DEFAULT_QUOTA) or not wildcards:
        return None
    limit = {**DEFAULT_QUOTA, "OPTIONS": {"owner_tokens": 1_000_000}}
    problem = (
        f"STREAMING_CHAT_MODELS has {wildcards[0]!r}, so users without a quota can choose its most expensive model"
    )
    setting = f"STREAMING_CHAT_QUOTA = {limit}"
    return problem, (
        f"Name the models instead, or set {setting}. If they cost nothing, as on your own server, silence this check."
    )
