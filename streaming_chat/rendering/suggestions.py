"""What an empty chat suggests to ask: STREAMING_CHAT_SUGGESTIONS, or the option of the template tag."""

from __future__ import annotations

from typing import Any, NamedTuple

from streaming_chat.conf import SUGGESTIONS


class Suggestion(NamedTuple):
    """label: what its button says. is_sent: a click sends the text; otherwise it puts it into the text field."""

    text: str
    label: str
    is_sent: bool


def as_suggestions(values: Any) -> list[Suggestion]:
    """Return suggestions from strings, which are sent, and dicts with `text`, `label` and `send`.

    Raises ValueError for anything else.
    """
    if not SUGGESTIONS.accepts(values):
        raise ValueError(f"suggestions must be {SUGGESTIONS.wanted}, got {values!r:.60}")
    return [_as_suggestion(value if isinstance(value, dict) else {"text": value}) for value in values]


def _as_suggestion(value: dict[str, Any]) -> Suggestion:
    text = str(value["text"])
    return Suggestion(text, str(value.get("label", text)), value.get("send", True))
