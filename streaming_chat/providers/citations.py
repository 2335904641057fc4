"""The pages that a reply cites, as `source` events."""

from __future__ import annotations

from typing import Any

from streaming_chat.protocol.events import Event, source

from .parsing import clean

# In characters.
MAX_URL = 2_048
MAX_TITLE = 255
MAX_QUOTATION = 500
# The pages that one reply may cite.
MAX_PAGES = 100


class CitedPages:
    """Holds the pages that a text cites until it has ended, since a source among its deltas would divide it.

    A page that is cited again is the same source.
    """

    def __init__(self) -> None:
        self._cited: set[str] = set()
        self._held: list[Event] = []

    def add(self, url: Any, title: Any, quotation: Any = "") -> None:
        """Hold a page, unless the reply has cited it before."""
        if not isinstance(url, str) or not 0 < len(url) <= MAX_URL:
            return
        url = clean(url, MAX_URL)
        if url not in self._cited and len(self._cited) < MAX_PAGES:
            self._cited.add(url)
            self._held.append(source(url, clean(title, MAX_TITLE), text=clean(quotation, MAX_QUOTATION)))

    def pop(self) -> list[Event]:
        """Return the sources, and hold them no longer."""
        held, self._held = self._held, []
        return held
