"""The title that a conversation gets from its first message."""

from __future__ import annotations

_MAX_CHARS = 60


def title_of(text: str) -> str:
    """Return the title of a conversation that begins with this text: 60 characters of it, on one line."""
    title = " ".join(text[: _MAX_CHARS * 2].split())
    return title if len(title) <= _MAX_CHARS else f"{title[: _MAX_CHARS - 1].rstrip()}…"
