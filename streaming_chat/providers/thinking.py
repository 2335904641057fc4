"""Separates the reasoning that a server leaves in the text, between tags, from the answer. No I/O.

Only a tag at the very beginning opens reasoning, so that a reply may write about tags. Some chat templates open it in the
prompt, and the text has only the closing tag. Then what stands before it is reasoning if it arrived in one read with the
tag, as in a body that is no stream; otherwise it was already shown as text, and stays text.
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming_chat.protocol.events import REASONING, TEXT, Event

# Of DeepSeek, Qwen and most others; of prompts that ask for it; of Seed, Mistral and Kimi.
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
# White space that is held back until a tag has come or not, in characters: it is looked at again with each read.
_MOST_BLANKS = 1_000
_FIRST = (*_TAGS, *_TAGS.values())


class ThinkTags:
    """Turns text between tags into reasoning. is_over: no more is to be expected, and events need not pass through it."""

    def __init__(self) -> None:
        self.is_over = False
        self._held = ""
        self._close = ""
        self._has_reasoning = False
        self._is_after = False

    def take(self, events: Sequence[Event]) -> list[Event]:
        """Return the events of one read with the reasoning as such. Some text may be held until the next."""
        text = "".join(event.payload for event in events if event.kind == TEXT)
        if not text:
            return list(events)
        if not self._close and not self._is_after and self._is_plain(self._held + text):
            held, self._held, self.is_over = self._held, "", True
            return [*_text(held), *events]
        place = next(number for number, event in enumerate(events) if event.kind == TEXT)
        rest = [event for event in events[place:] if event.kind != TEXT]
        return [*events[:place], *self._separated(text), *rest]

    def flush(self) -> list[Event]:
        """Return what is held, at the end."""
        held, self._held = self._held, ""
        if self._close:
            return self._reasoning(held.rstrip())
        return [] if self._is_after else _text(held)

    def _is_plain(self, text: str) -> bool:
        """Return whether a reply that begins like this has no tags."""
        begin = text.lstrip()
        if len(text) - len(begin) > _MOST_BLANKS:
            return True
        if any(tag.startswith(begin) or begin.startswith(tag) for tag in _FIRST):
            return False
        return not _unopened(text)

    def _separated(self, text: str) -> list[Event]:
        text, self._held = self._held + text, ""
        if self._is_after:
            return self._answer(text)
        if not self._close:
            text, is_open = self._opened(text)
            if not is_open:
                return []
        before, found, after = text.partition(self._close)
        if found:
            self._close, self._is_after = "", True
            return [*self._reasoning(before.rstrip()), *self._answer(after)]
        # The beginning of a closing tag, and white space that would stand before it.
        sure = before[: len(before) - _overlap(before, self._close)]
        text = sure.rstrip()
        sure = text if len(sure) - len(text) <= _MOST_BLANKS else sure
        self._held = before[len(sure) :]
        return self._reasoning(sure)

    def _opened(self, text: str) -> tuple[str, bool]:
        """Find the tag that opens or closes; return the text after an opening one, and whether one of both is here."""
        begin = text.lstrip()
        for tag, close in _TAGS.items():
            if begin.startswith(tag):
                self._close = close
                return begin.removeprefix(tag), True
        self._close = _unopened(text)
        if not self._close:
            self._held = text
        return text, bool(self._close)

    def _reasoning(self, text: str) -> list[Event]:
        if not self._has_reasoning:
            text = text.lstrip()
        self._has_reasoning = self._has_reasoning or bool(text)
        return [Event(REASONING, text)] if text else []

    def _answer(self, text: str) -> list[Event]:
        """Return the answer, without the white space between it and the reasoning."""
        text = text.lstrip()
        self.is_over = bool(text)
        return _text(text)


def _unopened(text: str) -> str:
    """Return the closing tag of reasoning that the chat template opened, "" for none.

    It stands once, at a line's end or beginning, and not in code: a reply may also explain such tags.
    """
    for close in _TAGS.values():
        before, found, after = text.partition(close)
        is_at_line = before.rstrip(" ")[-1:] in ("", "\n") or after.lstrip(" ")[:1] in ("", "\n")
        if found and is_at_line and close not in after and before.count("`") % 2 == 0:
            return close
    return ""


def _text(text: str) -> list[Event]:
    return [Event(TEXT, text)] if text else []


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)
