"""The title that a conversation gets from its first message."""

from __future__ import annotations

from streaming_chat.models import TITLE_CHARS


def title_of(text: str) -> str:
    """Return the title of a conversation that begins with this text: 60 characters of it, on one line."""
    title = " ".join(text[: TITLE_CHARS * 2].split())
    return title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1].rstrip()}…"
