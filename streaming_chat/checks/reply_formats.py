"""Checks the objects that replies can be, and the formats in which they are sent."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from streaming_chat import encoders, outputs
from streaming_chat.conf import conf

from .tag import TAG


@register(TAG)
def check_outputs(**kwargs: Any) -> list[CheckMessage]:
    """Find objects that no reply can be (E010)."""
    table: Any = conf.STREAMING_CHAT_OUTPUTS
    if not isinstance(table, dict):
        return [_invalid_output("STREAMING_CHAT_OUTPUTS is not a dict.")]
    return [
        _invalid_output(f"STREAMING_CHAT_OUTPUTS[{name!r}] cannot be used: {problem}.")
        for name, path in table.items()
        if (problem := outputs.problem_with(name, path))
    ]


def _invalid_output(problem: str) -> CheckMessage:
    return Error(problem, hint='Write {"recipe": "shop.schemas.Recipe"}.', id=f"{TAG}.E010")


@register(TAG)
def check_encoders(**kwargs: Any) -> list[CheckMessage]:
    """Find formats that cannot be used (E012)."""
    table: Any = conf.STREAMING_CHAT_ENCODERS
    if not isinstance(table, dict):
        return [_invalid_encoder("STREAMING_CHAT_ENCODERS is not a dict.")]
    return [
        _invalid_encoder(f"STREAMING_CHAT_ENCODERS[{name!r}] cannot be used: {problem}.")
        for name, path in table.items()
        if (problem := encoders.problem_with(name, path))
    ]


def _invalid_encoder(problem: str) -> CheckMessage:
    return Error(problem, hint='Write {"plain": "mysite.chat.PlainTextEncoder"}.', id=f"{TAG}.E012")
