"""Separates the reasoning that a server leaves in the text, between tags, from the answer. No I/O.

Only a tag at the very beginning opens reasoning, so that a reply may write about tags; and a closing tag in backticks is
code, and closes nothing. Some chat templates write the opening tag into the prompt, and the text has only the closing one.
Such a reply begins as any other, and its reasoning takes seconds to minutes: an ordinary reply must not be held back for
that long to tell them apart. Therefore the site says which models do so (UNOPENED), and their reasoning is passed on as it
comes. Otherwise, what stands before a lone closing tag is reasoning if it arrived in one read with the tag, as in a body
that is no stream; else it was already shown as text, and stays text.
"""

from __future__ import annotations

import re
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

# A value of `ModelOptions.think_tags`: the prompt has the opening tag.
UNOPENED = "unopened"


class ThinkTags:
    """Turns text between tags into reasoning. is_over: no more is to be expected, and events need not pass through it.

    mode: True, False for no tags, or UNOPENED.
    """

    __slots__ = (
        "_backticks",
        "_closing",
        "_has_reasoning",
        "_held",
        "_is_after",
        "_is_unopened",
        "_unmarked",
        "is_over",
    )

    def __init__(self, mode: bool | str = True) -> None:
        self.is_over = not mode
        self._is_unopened = mode == UNOPENED
        self._held = ""
        # The tags that would end the reasoning that is being received.
        self._closing: tuple[str, ...] = ()
        self._has_reasoning = False
        # In the last line of the reasoning that was passed on.
        self._backticks = 0
        self._is_after = False
        # Reasoning of which no tag has shown yet that it is.
        self._unmarked: list[str] = []

    def take(self, events: Sequence[Event]) -> list[Event]:
        """Return the events of one read with the reasoning as such. Some text may be held until the next."""
        text = "".join(event.payload for event in events if event.kind == TEXT)
        # Most reads before the text are reasoning that the server separates itself, a token each.
        if not (text or self._is_unopened):
            return list(events)
        is_begun = bool(self._closing) or self._is_after
        if not is_begun and self._is_plain(self._held + text, events):
            held, self._held, self.is_over = self._held, "", True
            return [*_text(held), *events]
        if not text:
            return list(events)
        place = next(number for number, event in enumerate(events) if event.kind == TEXT)
        rest = [event for event in events[place:] if event.kind != TEXT]
        return [*events[:place], *self._separated(text), *rest]

    def flush(self, *, is_complete: bool = False) -> list[Event]:
        """Return what is held, at the end. is_complete: the model has said all it wanted to say."""
        held, self._held = self._held, ""
        if not self._closing:
            return [] if self._is_after else _text(held)
        reasoning = self._reasoning(held.rstrip())
        # A model that did not think this time has only answered, and the answer must be in the reply.
        return reasoning + _text("".join(self._unmarked)) if is_complete else reasoning

    def _is_plain(self, text: str, events: Sequence[Event]) -> bool:
        """Return whether a reply that begins like this has no tags."""
        if self._is_unopened:
            # A server that separates reasoning itself leaves only the answer in the text.
            return any(event.kind == REASONING for event in events)
        begin = text.lstrip()
        if len(text) - len(begin) > _MOST_BLANKS:
            return True
        if any(tag.startswith(begin) or begin.startswith(tag) for tag in _FIRST):
            return False
        return not unopened_tag(text)

    def _separated(self, text: str) -> list[Event]:
        text, self._held = self._held + text, ""
        if self._is_after:
            return self._answer(text)
        if not self._closing:
            text = self._begun(text)
        return self._inside(text) if self._closing else []

    def _begun(self, text: str) -> str:
        """Find the tag that opens the reasoning, or closes it, and return the text after an opening one."""
        begin = text.lstrip()
        for tag, close in _TAGS.items():
            if begin.startswith(tag):
                self._closing, self._is_unopened = (close,), False
                return begin.removeprefix(tag)
        if self._is_unopened and not any(tag.startswith(begin) for tag in _TAGS):
            self._closing = tuple(_TAGS.values())
        elif close := unopened_tag(text):
            self._closing = (close,)
        else:
            self._held = text
        return text

    def _inside(self, text: str) -> list[Event]:
        """Return the events of text that begins in the reasoning."""
        for found in re.finditer("|".join(map(re.escape, self._closing)), text):
            before, after = text[: found.start()], text[found.end() :]
            if self._backticks_before(before) % 2 and after[:1] in ("`", ""):
                continue
            reasoning = self._reasoning(before.rstrip())
            self._closing, self._is_after = (), True
            self._unmarked.clear()
            return [*reasoning, *self._answer(after)]
        # A tag that may be code, the beginning of a closing tag, and white space that would stand before it.
        sure = text[: len(text) - max(_overlap(text, tag) for tag in self._closing)]
        stripped = sure.rstrip()
        sure = stripped if len(sure) - len(stripped) <= _MOST_BLANKS else sure
        self._held = text[len(sure) :]
        return self._reasoning(sure)

    def _backticks_before(self, text: str) -> int:
        """Return how many backticks the last line of the reasoning has at the end of this text, the next of it."""
        _earlier, newline, line = text.rpartition("\n")
        return line.count("`") + (0 if newline else self._backticks)

    def _reasoning(self, text: str) -> list[Event]:
        if not self._has_reasoning:
            text = text.lstrip()
        self._has_reasoning = self._has_reasoning or bool(text)
        self._backticks = self._backticks_before(text)
        if self._is_unopened:
            self._unmarked.append(text)
        return [Event(REASONING, text)] if text else []

    def _answer(self, text: str) -> list[Event]:
        """Return the answer, without the white space between it and the reasoning."""
        text = text.lstrip()
        self.is_over = bool(text)
        return _text(text)


def unopened_tag(text: str) -> str:
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
    """Return how many characters at the end of a text may belong to a tag: its beginning, or all of it."""
    return next((size for size in range(min(len(tag), len(text)), 0, -1) if text.endswith(tag[:size])), 0)
