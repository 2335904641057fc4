"""Whether this process may end the replies of others whose leases have expired.

Only if its own database has worked without interruption for the length of a lease.

After an outage all leases have expired, also those of living workers. The first
process to reconnect would otherwise end all replies before their workers could renew the leases.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from streaming_chat.conf import conf


class LeaseJudge:
    """Remembers since when the database has answered. Safe to use from any thread: each field is one assignment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._since: float | None = None
        self._last = 0.0

    def database_answered(self) -> None:
        """Note that the database has just answered."""
        now = self._clock()
        # It may have failed in a silence as long as a lease.
        if self._since is None or now - self._last > conf.STREAMING_CHAT_LEASE_SECONDS:
            self._since = now
        self._last = now

    def database_failed(self) -> None:
        """Note that the database has just failed."""
        self._since = None

    @property
    def may_expire_others(self) -> bool:
        """Whether the database has worked for LEASE_SECONDS until now, without a failure or a silence of that length."""
        since, lease = self._since, conf.STREAMING_CHAT_LEASE_SECONDS
        now = self._clock()
        return since is not None and now - since >= lease and now - self._last <= lease


lease_judge = LeaseJudge()
