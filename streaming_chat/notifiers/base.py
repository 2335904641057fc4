"""What a notifier promises: that processes learn sooner of each other's replies.

The database is authoritative, and every process reads it for the replies that it follows. A notifier only says when to read,
and may carry events ahead of the database, so whatever it loses costs latency and nothing else. It knows ids, never rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from streaming_chat.backends import Backend
from streaming_chat.protocol.events import Event


class Subscriber(Protocol):
    """Receives what a notifier learns about followed replies. Called in any thread; must not block."""

    def rows_changed(self, message_ids: Iterable[uuid.UUID]) -> None:
        """The database has more of these replies: read it now."""

    def events_received(self, message_id: uuid.UUID, position: int, events: Sequence[Event]) -> None:
        """Events that the database may not have yet; position is that of the first."""


class Notifier(Backend):
    """The base class, which notifies nobody: processes read the database at their own pace.

    No method blocks or raises, except `notify_on_commit`, which is part of its caller's transaction, and `forget`. Threads
    and connections are opened at the first `listen`, `subscribe`, `publish` or `wake`.
    """

    @property
    def is_connected(self) -> bool:
        """Whether a notification sent now would arrive. While it would, the database is read every 2 s instead of 0.3 s."""
        return False

    # For the process that writes replies.

    def listen(self, worker: str, on_wake: Callable[[Iterable[uuid.UUID]], None], using: str) -> None:
        """Receive the wake-ups of this worker from now on.

        on_wake: called in any thread with the replies whose rows must be read now; must not block. using: alias of the
        database that holds the rows.
        """

    def stop_listening(self) -> None:
        """This process writes no reply any more."""

    def notify_on_commit(self, using: str, message_ids: Sequence[uuid.UUID]) -> None:
        """Call `rows_changed` for these replies in every process that follows them, once the current transaction commits.

        Called inside the transaction, in its thread, with at least one id.
        """

    def publish(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        """Carry the events of a reply that another process follows, from now on. May be called repeatedly.

        events: all events of the reply from its start; a list that only grows, and ends with the ending.
        """

    def stop_publishing(self, message_id: uuid.UUID) -> None:
        """The reply has ended, or no other process follows it. May be called repeatedly."""

    # For the process that follows replies.

    def subscribe(self, message_id: uuid.UUID, subscriber: Subscriber, using: str) -> None:
        """Tell the subscriber about this reply from now on."""

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        """Stop telling its subscriber about this reply."""

    def wake(self, using: str, worker: str, message_id: uuid.UUID) -> None:
        """Make a worker read this reply's row now: a stop was requested, or a reader follows the reply.

        Called outside of the writer's transaction.
        """

    def forget(self, message_ids: Sequence[uuid.UUID]) -> None:
        """Delete whatever is held of these ended replies: their text was removed. May block for a few seconds."""
