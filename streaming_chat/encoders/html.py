"""The html format: Server-Sent Events whose data is HTML to append, for htmx.

The text comes in unnamed events, everything else in named ones. All of it is escaped: the text of a model is never markup.
The element that it is appended to needs `white-space: pre-wrap`.
"""

from __future__ import annotations

from html import escape
from typing import Any

from streaming_chat.exceptions import error_text
from streaming_chat.protocol.events import END, REASONING, SOURCE, START, TEXT, Event, link_of, merge
from streaming_chat.protocol.sse import HEARTBEAT, frame

from .base import Encoder
from .simple import RETRY, ending_name


class HTMLEncoder(Encoder):
    """One frame per event; tool calls are left out."""

    content_type = "text/event-stream; charset=utf-8"
    heartbeat = HEARTBEAT

    def encode(self, events: list[Event], position: int) -> bytes:
        """Return the frames of these events."""
        if len(events) == 1 and events[0].kind == TEXT:
            # The usual token of a live reply. What is escaped has no line break, which `frame` would look for.
            text = events[0].payload
            return f"id: {self._id(position + len(text))}\ndata: {_html_of(events[0])}\n\n".encode()
        frames: list[bytes] = []
        for event in merge(events):
            position += event.size
            if (html := _html_of(event)) is not None:
                frames.append(RETRY if event.kind == START else b"")
                frames.append(frame(html, event="" if event.kind == TEXT else event.kind, id=self._id(position)))
        return b"".join(frames)

    def end(self, payload: dict[str, Any]) -> bytes:
        """Return the ending, with what to tell people, and `close`: htmx closes a stream at one name only."""
        code = payload.get("error_code")
        said = escape(error_text(code)) if code else payload["status"]
        ending = frame(said, event=ending_name(payload), id=self._id(END))
        return ending + frame(payload["status"], event="close", id=self._id(END))

    def reset(self) -> bytes:
        """Return the `reset` frame."""
        return frame("reset", event="reset", id=self._id(0))

    def _id(self, position: int | str) -> str:
        return f"{self.message_id}/{position}"


def _html_of(event: Event) -> str | None:
    """Return the HTML of an event, None for a kind without one."""
    kind, payload = event
    if kind in (TEXT, REASONING):
        # htmx 4 drops white space that stands alone, but not an element with it.
        return f"<span>{escaped(payload)}</span>"
    if kind == START:
        # Shown in an element, it empties it.
        return f"<!-- {escape(payload.get('message', ''))} -->"
    return _link(payload) if kind == SOURCE else None


def escaped(text: str) -> str:
    """Return text as HTML, on one line of a stream: a line break as it is would become another one in a parser."""
    return escape(text).replace("\r", "&#13;").replace("\n", "&#10;")


def _link(source: dict[str, Any]) -> str:
    url = link_of(source)
    title = escaped(str(source.get("title") or url))
    return f'<a href="{escape(url)}" rel="noopener noreferrer nofollow">{title}</a>' if url else f"<cite>{title}</cite>"
