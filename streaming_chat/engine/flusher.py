"""One flush of the writer: saves runs on a connection that works, and knows whether the database is away."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import DatabaseError, InterfaceError, connections

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.logs import describe, logger
from streaming_chat.models import LiveReply

from .progress import Progress
from .saver import Saver

# Between tries while the database is away, each on a fresh connection.
_AWAY_SECONDS = 0.5
# A database that answers and saves nothing may be blocked by one reply: how often the batch is divided to find it.
_DIVISION_SECONDS = 5.0


class Flusher:
    """Saves runs for the writer's thread, which alone calls its methods; any thread may read its properties."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver
        self._failures = 0
        self._next_division = 0.0
        # By the monotonic clock: since when the database has been away, and when the flush that goes on began.
        self._away_since: float | None = None
        self._flush_began: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the database failed at the last flush."""
        return self._away_since is not None

    @property
    def seconds_without_answer(self) -> float:
        """For how many seconds the database has been away, or has not answered the flush that goes on."""
        since = [moment for moment in (self._away_since, self._flush_began) if moment is not None]
        return time.monotonic() - min(since) if since else 0.0

    def flush(self, runs: Sequence[Progress]) -> bool:
        """Save what these runs have; False if the database is away, after a pause."""
        self._flush_began = time.monotonic()
        try:
            outage = self._flush(runs)
        except Exception as error:  # noqa: BLE001  (the thread must go on)
            logger.error("Saving failed: %s", describe(error))
            outage = error
        finally:
            self._flush_began = None
        if outage is None:
            self._note_answer(has_saved=bool(runs))
            return True
        self.note_outage(outage)
        time.sleep(min(conf.STREAMING_CHAT_FLUSH_SECONDS, _AWAY_SECONDS))
        return False

    def note_outage(self, outage: Exception) -> None:
        """Note that the database has failed, and close its connection."""
        lease_judge.database_failed()
        connections.close_all()
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.warning("The database is away; what is not saved waits in memory: %s", describe(outage))

    def _note_answer(self, *, has_saved: bool) -> None:
        if has_saved:
            lease_judge.database_answered()
        if self._away_since is not None:
            self._away_since = None
            logger.info("The database answers again.")

    def _flush(self, runs: Sequence[Progress]) -> Exception | None:
        """Save these runs, on a fresh connection if the old one is broken; return why that failed."""
        using = live_database()
        if self.is_away and (outage := _probe(using)):
            return outage
        is_fresh = self.is_away or connections[using].connection is None
        outage = self._saver.save(runs, divide=self._is_division_due()).outage
        if outage is not None and not is_fresh:
            # The server may have closed the old connection: that alone is no outage.
            connections.close_all()
            outage = self._saver.save([progress for progress in runs if not progress.is_final]).outage
        self._failures = 0 if outage is None else self._failures + 1
        return outage

    def _is_division_due(self) -> bool:
        """Return whether saving has failed again and again, though the database answers."""
        if self._failures < 2 or time.monotonic() < self._next_division:
            return False
        self._next_division = time.monotonic() + _DIVISION_SECONDS
        return True


def _probe(using: str) -> Exception | None:
    """Return why a fresh connection cannot write, at the least cost: it is tried while everything waits."""
    connections.close_all()
    try:
        LiveReply.objects.using(using).filter(worker="").update(worker="")
    except (DatabaseError, InterfaceError) as error:
        return error
    return None
