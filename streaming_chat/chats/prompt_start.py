"""Where a prompt begins when a branch has more than a prompt may have.

Providers keep the beginning of a prompt for some minutes, and charge a tenth for what a later prompt has in common with it.
If each prompt left out just what does not fit, each would begin with another message. Therefore a prompt begins where that
of the last reply did, which is stored as the number of messages left out, until it is too long. Then it is cut to 60 %.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from streaming_chat.models import Message

from .history import MAX_MESSAGES

# What a cut leaves of the limits. The rest is the room for the turns until the next cut.
_KEPT = 0.6


def start_of_prompt(history: Sequence[Message], max_chars: int) -> int:
    """Return the index of the message that a prompt begins with.

    history: the end of a branch, as much as is loaded, and the new messages; the last one is always in the prompt.
    max_chars: of all of them together.
    """
    sizes = [_size(message) for message in history]
    start = _after_cut(sizes, len(sizes), max_chars)
    last_start = _start_of_last_prompt(history) - history[0].depth
    # Not loaded: it would be too long. Less than a cut leaves: the last model took less.
    if last_start >= 0:
        start = min(start, _after_growth(sizes, last_start, max_chars))
    # Providers require a user's turn first.
    while start < len(history) - 1 and history[start].is_reply:
        start += 1
    return start


def _start_of_last_prompt(history: Sequence[Message]) -> int:
    """Return the depth of the message that the prompt of the last stored reply began with."""
    stored = (message for message in reversed(history) if not message._state.adding)
    return next((message.omitted_messages for message in stored if message.is_reply), 0)


def _after_growth(sizes: Sequence[int], start: int, max_chars: int) -> int:
    """Return where a prompt begins that began at `start` and has been cut whenever it had become too long."""
    chars = 0
    for end in range(start + 1, len(sizes) + 1):
        chars += sizes[end - 1]
        if chars > max_chars or end - start > MAX_MESSAGES:
            start = _after_cut(sizes, end, max_chars)
            chars = sum(sizes[start:end])
    return start


def _after_cut(sizes: Sequence[int], end: int, max_chars: int) -> int:
    """Return where a prompt that ends before `end` begins after a cut."""
    chars, fewest = sizes[end - 1], max(end - int(_KEPT * MAX_MESSAGES), 0)
    for start in range(end - 1, fewest, -1):
        chars += sizes[start - 1]
        if chars > _KEPT * max_chars:
            return start
    return fewest


def _size(message: Message) -> int:
    """Return what a message counts: its text, and its parts if they go along."""
    return len(message.text) + (len(json.dumps(message.parts)) if message.has_more_than_text else 0)
