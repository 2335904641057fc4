"""Server-Sent Events: framing (text in, bytes out) and splitting (bytes in, events out). No I/O, no Django.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"

# A comment that is one line, not a block: `: ping` with a blank line makes fetch-event-source dispatch an empty message,
# which re-POSTs, and openai-python raise.
HEARTBEAT = b":\n"


def frame(data: str, *, event: str = "", id: str = "") -> bytes:
    """Return one UTF-8 frame, with the blank line that dispatches it.

    data: any text; each of its lines becomes a data field.
    event, id: one line each; left out when empty.
    Raises ValueError for a line break in event or id, or a NUL in id, which a browser would misread.
    """
    if _LINE_BREAK.search(event + id) or "\0" in id:
        raise ValueError(f"event and id must be one line without NUL, got {event!r} and {id!r}.")
    head = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    fields = "".join(f"data: {line}\n" for line in _LINE_BREAK.split(data))
    return f"{head}{fields}\n".encode()


class Splitter:
    """Splits a byte stream, cut anywhere, into (event name, data) pairs.

    Names are str ("" when the stream names none), data is bytes, its lines joined with LF. Lines end with LF, CRLF or
    CR; a BOM at the start and comments are ignored, as are ids and retries, which a provider's stream has no use for. A
    block that its blank line has not closed is not an event, except by `rest()`.
    limit: most bytes one event may hold; beyond it feed() raises ValueError, since a stream without line breaks would
    otherwise grow in memory.
    """

    def __init__(self, limit: int = 8 * 1024 * 1024) -> None:
        self.limit = limit
        # The line that has not ended, joined once: as one growing bytes, 1 MB in reads of 64 bytes is 8 GB copied.
        self._pending: list[bytes] = []
        self._held = 0
        self._started = False
        self._after_cr = False
        self._name = ""
        self._data: list[bytes] = []

    @property
    def is_between_events(self) -> bool:
        """Whether the next bytes begin an event, after an earlier one, so that what follows does not depend on the past."""
        return self._started and not (self._pending or self._data or self._name or self._after_cr)

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Return the events that these bytes complete."""
        events: list[tuple[str, bytes]] = []
        if not self._started and not (data := self._without_bom(data)):
            return events
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        if b"\n" in data:
            if self._pending:
                data = self._take_pending() + data
            lines = data.split(b"\n")
            data = lines.pop()
            for line in lines:
                self._line(line, events)
        if data:
            self._pending.append(data)
            self._held += len(data)
        if self._held > self.limit:
            raise ValueError(f"an event may hold {self.limit} bytes, got more.")
        return events

    def rest(self) -> list[tuple[str, bytes]]:
        """Return the event that the stream's end left without its blank line, if any."""
        events: list[tuple[str, bytes]] = []
        self._line(self._take_pending(), events)
        self._line(b"", events)
        return events

    def _take_pending(self) -> bytes:
        pending, self._pending = b"".join(self._pending), []
        self._held -= len(pending)
        return pending

    def _without_bom(self, data: bytes) -> bytes:
        data = self._take_pending() + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._pending, self._held = [data], len(data)
            return b""
        self._started = True
        return data.removeprefix(_BOM)

    def _with_lf(self, data: bytes) -> bytes:
        """A CR ends its line at once; an LF that the next read brings belongs to it."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _line(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        if not line:
            if self._data:
                events.append((self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
                self._data = []
                self._held = 0
            self._name = ""
            return
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._held += len(line)
        elif line == b"data":
            self._data.append(b"")
            self._held += len(line)
        elif line.startswith(b"event:"):
            self._name = (line[7:] if line[6:7] == b" " else line[6:]).decode("utf-8", "replace")
