"""Whether this process may judge others by their leases: only if its own database has worked unbroken for a lease.

After an outage every lease has run out, also those of workers that live; the first process to reconnect would otherwise
end everybody's replies before their workers could renew.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from streaming_chat.conf import conf


class LeaseJudge:
    """What is known of the database's recent past. From any thread: each field is written whole."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Know nothing."""
        self._since: float | None = None
        self._last = 0.0

    def database_answered(self) -> None:
        """Note that the database has just answered."""
        now = self._clock()
        # A silence of a lease says nothing about what happened in it.
        if self._since is None or now - self._last > conf.STREAMING_CHAT_LEASE_SECONDS:
            self._since = now
        self._last = now

    def database_failed(self) -> None:
        """Note that it has just failed."""
        self._since = None

    @property
    def may_expire_others(self) -> bool:
        """Whether it has worked for LEASE_SECONDS, up to now, without a failure or a silence of that length."""
        since, lease = self._since, conf.STREAMING_CHAT_LEASE_SECONDS
        now = self._clock()
        return since is not None and now - since >= lease and now - self._last <= lease


lease_judge = LeaseJudge()
