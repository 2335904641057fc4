"""Recognises a read that differs from an earlier one only in its text. No I/O.

Most events of a stream are the same bytes around another text, so a comparison replaces splitting, parsing and interpreting
them. The result is exactly the same; whatever is not recognised is parsed.
"""

from __future__ import annotations

import re

# OpenAI adds random letters and digits to each event, so that its size does not tell the size of the text.
_PADDING = b'"obfuscation":"'
# OpenAI's Responses API numbers the events.
_NUMBERED = b'"sequence_number":'
_MOST_DIGITS = 15
_NUMBER = re.compile(rb'(.*"sequence_number": ?)[1-9][0-9]{0,%d}([,}].*)' % (_MOST_DIGITS - 1), re.DOTALL)


class Template:
    """The bytes around the text of a read."""

    __slots__ = ("_after", "_before", "_between", "_last")

    def __init__(self, before: bytes, after: bytes) -> None:
        """before: what precedes the text, up to its quotation mark. after: what follows, from its quotation mark on."""
        start, padding, rest = after.partition(_PADDING)
        self._after = start + padding
        # What follows the padding; None if there is none.
        self._last = rest[rest.index(b'"') :] if padding else None
        # What precedes the number, and what is between it and the text; None if there is none.
        self._before, self._between = before, None
        if found := _NUMBER.match(before):
            self._before, self._between = found.groups()

    def text_in(self, read: bytes) -> str:
        """Return the text of a read that is otherwise the same; "" for any other read.

        Text with an escape, an invalid byte or a character that is not printable is left to the parser.
        """
        if not read.startswith(self._before):
            return ""
        start = len(self._before)
        if self._between is not None and not (start := self._after_number(read, start, self._between)):
            return ""
        end = read.find(b'"', start)
        if end < 0 or not read.startswith(self._after, end) or not self._ends(read, end + len(self._after)):
            return ""
        try:
            text = read[start:end].decode()
        except UnicodeDecodeError:
            return ""
        return text if text.isprintable() and "\\" not in text else ""

    def _after_number(self, read: bytes, at: int, between: bytes) -> int:
        """Return where the text begins after the number here; 0 if something else is here."""
        end = read.find(between[:1], at, at + _MOST_DIGITS + 1)
        number = read[at:end]
        is_same = end > at and number.isdigit() and number[:1] != b"0" and read.startswith(between, end)
        return end + len(between) if is_same else 0

    def _ends(self, read: bytes, at: int) -> bool:
        """Return whether what follows here is the padding and the end."""
        if self._last is None:
            return at == len(read)
        end = len(read) - len(self._last)
        return read.endswith(self._last) and (at == end or (at < end and read[at:end].isalnum()))


def template_of(read: bytes, key: bytes, text: str) -> Template | None:
    """Return the template of a read, in which `key` precedes a JSON string of this text; None if it is not certain where.

    The read must be one whole event, in which the text is all that matters.
    """
    # Without an escape, the key is spelled in one way, and a quotation mark begins or ends a string.
    if b"\\" in read or read.count(key) != 1 or read.count(_PADDING) > 1 or read.count(_NUMBERED) > 1:
        return None
    before, _, after = read.partition(key)
    quoted = after.removeprefix(b":").removeprefix(b" ")
    encoded = text.encode("utf-8", "replace")
    if not text or not quoted.startswith(b'"%b"' % encoded) or b'"' in encoded:
        return None
    end = len(read) - len(quoted) + 1
    before, after = read[:end], read[end + len(encoded) :]
    return None if _PADDING in before else Template(before, after)
