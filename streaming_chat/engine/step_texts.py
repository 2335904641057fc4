"""Makes the events of several calls of a provider one reply: each call's id is unique in it, and each text a paragraph."""

from __future__ import annotations

from collections.abc import Iterable

from streaming_chat.protocol import events
from streaming_chat.protocol.events import TEXT, TOOL_CALL, Event
from streaming_chat.protocol.storable_text import TextCleaner
from streaming_chat.protocol.tool_calls import is_of_site


class StepCleaner:
    """A TextCleaner for the events of one step. so_far: the events of the reply before it."""

    def __init__(self, so_far: Iterable[Event], step: int) -> None:
        so_far = list(so_far)
        self._cleaner = TextCleaner()
        self._ids = {payload["id"] for kind, payload in so_far if kind == TOOL_CALL}
        self._step = step
        text = events.text_of(so_far)
        self._break = "" if events.is_blank(text) or text.endswith("\n") else "\n\n"

    def take(self, received: list[Event]) -> list[Event]:
        """Return these events as they are stored."""
        return [self._own(event) for event in self._cleaner.take(received)]

    def flush(self) -> list[Event]:
        """Return the text that is still held back, at the end."""
        return [self._own(event) for event in self._cleaner.flush()]

    def _own(self, event: Event) -> Event:
        if event.kind == TEXT and self._break:
            event, self._break = Event(TEXT, self._break + event.payload), ""
        elif event.kind == TOOL_CALL and is_of_site(event.payload):
            return Event(TOOL_CALL, {**event.payload, "id": self._unique(event.payload["id"])})
        return event

    def _unique(self, call_id: str) -> str:
        """Return the id of a call: some servers send none, or number the calls of each reply alike."""
        unique, number = call_id, 0
        while not unique or unique in self._ids:
            unique, number = f"call_{self._step}_{number}", number + 1
        self._ids.add(unique)
        return unique
