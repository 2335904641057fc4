"""Hooks inside the transactions that write conversations. The staff folders register theirs when the app is ready.

Lower layers call a hook and do not know who listens. A receiver runs in the caller's transaction and thread, in the order
of registration; an exception that it raises undoes the caller's transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SavedText(NamedTuple):
    """A text that was saved. message: None for the conversation's title."""

    conversation: uuid.UUID
    message: uuid.UUID | None
    is_reply: bool
    text: str


class Hook(Generic[P, T]):
    """Functions to call when one thing happens."""

    def __init__(self) -> None:
        self._receivers: list[Callable[P, T]] = []

    def register(self, receiver: Callable[P, T]) -> None:
        """Call this function from now on. Registering it again changes nothing."""
        if receiver not in self._receivers:
            self._receivers.append(receiver)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call the receivers, and return what they returned."""
        return [receiver(*args, **kwargs) for receiver in self._receivers]


# (texts, using): new texts were written.
texts_saved: Hook[[Sequence[SavedText], str], object] = Hook()
# Something was added to a conversation. (needs_attention) -> columns of it to set in the caller's UPDATE, the same at each
# call: that UPDATE may be compiled once. needs_attention: the addition is one of STREAMING_CHAT_REVIEW_REASONS.
conversation_changed: Hook[[bool], dict[str, Any]] = Hook()


# (message id): its worker died while only such tools ran as may run again, and the reply is to be gone on with.
reply_parked: Hook[[uuid.UUID], object] = Hook()


def columns_on_change(*, needs_attention: bool = False) -> dict[str, Any]:
    """Return the columns that receivers of `conversation_changed` set."""
    columns: dict[str, Any] = {}
    for added in conversation_changed(needs_attention):
        columns |= added
    return columns
