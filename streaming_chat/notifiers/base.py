"""What a tail promises: processes hear sooner of one another's replies.

The database is the record, and every process looks at it for the replies that it follows. A tail only says when to look,
and may carry events ahead of it; whatever a tail loses costs latency and nothing else. It knows ids, never rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from streaming_chat.backends import Backend
from streaming_chat.protocol.events import Event


class Follower(Protocol):
    """This process's followed replies, as a tail sees them. From any thread; never blocks."""

    def news(self, message_ids: Iterable[uuid.UUID]) -> None:
        """The database has more of these: look now."""

    def received(self, message_id: uuid.UUID, position: int, events: Sequence[Event]) -> None:
        """Events that the database may not have yet, the first at this position."""


class Notifier(Backend):
    """Does nothing by itself: followers look at the database at their own pace.

    Every method returns at once and raises nothing, but for `tell`, which is part of its caller's transaction. A tail
    opens what it needs (threads, connections) at the first `serve` or `follow`, and closes what would hold a database
    open when nothing is served and followed any more.
    """

    @property
    def is_connected(self) -> bool:
        """Whether it would hear now: then the database is looked at seldom, as a safeguard."""
        return False

    # Of the process that writes replies.

    def listen(self, worker: str, woken: Callable[[Iterable[uuid.UUID]], None], using: str) -> None:
        """Hear what others want of this worker's replies, from now on.

        woken: called in any thread with replies whose rows are to be read now; must not block. using: alias of the
        database that holds them.
        """

    def stop_listening(self) -> None:
        """Nothing is being written any more."""

    def notify_on_commit(self, using: str, message_ids: Sequence[uuid.UUID]) -> None:
        """Say, once the transaction under way is committed, that followers of these find more: events or the ending.

        Never empty. Called inside the transaction, in its thread.
        """

    def publish(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        """Carry a reply's events from now on, the reply being followed elsewhere. However often.

        events: all of the reply from its start, a list which only grows, and ends with the ending.
        """

    def stop_publishing(self, message_id: uuid.UUID) -> None:
        """The reply has ended, or nobody follows it elsewhere. However often."""

    # Of the process that follows replies.

    def subscribe(self, message_id: uuid.UUID, follower: Follower, using: str) -> None:
        """Report this reply's news to the follower from now on."""

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        """Stop doing so."""

    def wake(self, using: str, worker: str, message_id: uuid.UUID) -> None:
        """Have a worker read this reply's row now: a stop was asked for, or somebody began to follow. Outside any flush."""

    def forget(self, message_ids: Sequence[uuid.UUID]) -> None:
        """Hold nothing more of these ended replies: their text was taken away. Blocking, for a few seconds at most."""
