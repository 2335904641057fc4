"""Takes over what other processes left behind: endings in the journal, and the live replies of dead workers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Container

from streaming_chat.conf import conf
from streaming_chat.db.leases import lease_judge
from streaming_chat.models import LiveReply

from .journal import journal
from .recovery import recover_abandoned

# Endings that are replayed at once, so that a full folder holds up no live reply: 20 take about 0.1 s.
_REPLAYS = 20
# Time in seconds between a replay that failed and the next.
_RETRY_SECONDS = 10.0


class Takeover:
    """Does a little between two flushes, each reply in a transaction of its own. Used by the writer's thread.

    own: the replies of this process, whose leases it must not judge.
    """

    def __init__(self, own: Container[uuid.UUID]) -> None:
        self._own = own
        # Other processes may have left endings before this one began.
        self._is_replay_due = True
        self._next_replay = self._next_recovery = 0.0

    @property
    def is_replay_due(self) -> bool:
        """Whether endings may be waiting in the journal."""
        return self._is_replay_due

    def replay_soon(self) -> None:
        """Replay the journal at the next turn: the database answers again, or there is a new record. From any thread."""
        self._is_replay_due = True
        self._next_replay = 0.0

    def recover_soon(self) -> None:
        """Look for replies of dead workers at the next turn."""
        self._next_recovery = 0.0

    def work(self) -> None:
        """Replay endings that wait, or end replies of dead workers. Blocking, for half a second at most.

        Whatever it raises, the replay is tried again.
        """
        if self._is_replay_due and time.monotonic() >= self._next_replay:
            self._replay()
        else:
            self._recover()

    def _replay(self) -> None:
        # First, since another thread may add a record meanwhile.
        self._is_replay_due = False
        try:
            replayed = journal.replay(_REPLAYS)
        except Exception:
            self._is_replay_due = True
            self._next_replay = time.monotonic() + _RETRY_SECONDS
            raise
        self._is_replay_due |= replayed.is_more

    def _recover(self) -> None:
        """End the replies of dead workers, once a lease; see `db.leases`."""
        if time.monotonic() < self._next_recovery or not lease_judge.may_expire_others:
            return
        # By reply, not by worker: a reply of this worker whose run is gone must be recovered, too.
        recovered, is_more = recover_abandoned(LiveReply.objects.all(), exclude=self._own)
        if not (recovered and is_more):
            self._next_recovery = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS
