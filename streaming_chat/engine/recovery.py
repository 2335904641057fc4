"""Saves what other processes left behind: the replies of workers that died, and endings in the journal."""

from __future__ import annotations

import enum
import time
import uuid
from collections.abc import Container, Sequence
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_locked
from streaming_chat.db.hooks import reply_parked
from streaming_chat.db.leases import lease_judge
from streaming_chat.db.transactions import LOCK_SECONDS, savepoint, write_transaction
from streaming_chat.logs import describe, logger
from streaming_chat.models import NOBODY, RECOVERED, Conversation, LiveReply, LiveReplyQuerySet, Message, ReplyEvent
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import NO_CONTENT, TOOL_CALL, Event
from streaming_chat.protocol.tool_calls import without_tools_cut

from . import tool_rows
from .completion import Completion, end_reply
from .ending_journal import journal
from .resumed import MEASURED

# How long in seconds a process recovers before it looks after its own replies again. A dead worker leaves up to 2,000, each
# takes about 3 ms, and a process that recovered for LEASE_SECONDS would lose its own leases.
RECOVERY_SECONDS = 0.5

# A lock that is held for longer is that of a paused process.
_SHORT_WAIT_SECONDS = 0.1
# Endings that are replayed at once, so that a full folder holds up no live reply: 20 take about 0.1 s.
_REPLAYS = 20
# Time in seconds between a replay that failed and the next.
_RETRY_SECONDS = 10.0


def recover_abandoned(
    lives: LiveReplyQuerySet,
    *,
    until: float | None = None,
    exclude: Container[uuid.UUID] = (),
    may_go_on: bool = False,
) -> tuple[set[uuid.UUID], bool]:
    """End those of these replies whose worker died; return which, and whether more are left. Blocking.

    until: monotonic time at which to stop; by default, after RECOVERY_SECONDS. exclude: replies to leave alone. Replies
    that a paused process has locked are left, too. may_go_on: this process lives on, so that it can go on with replies
    whose tools may run again.
    """
    until = time.monotonic() + RECOVERY_SECONDS if until is None else until
    recovered: set[uuid.UUID] = set()
    # In random order: several processes find a dead worker's replies at once.
    for live in _unlocked(lives.abandoned().order_by("?")):
        if time.monotonic() >= until:
            return recovered, True
        if live.pk not in exclude and recover_reply(live, _SHORT_WAIT_SECONDS, may_go_on=may_go_on):
            recovered.add(live.pk)
    return recovered, False


def recover_reply(live: LiveReply, lock_seconds: float = LOCK_SECONDS, *, may_go_on: bool = False) -> bool:
    """End a reply whose worker died, with what was saved of it, in one transaction. Blocking.

    False if its worker lives, another process has ended it, its rows are locked for longer than this, or this version
    cannot read them. It is never sent to the provider again: that would be billed twice. Raises errors of the database.

    may_go_on: as for `recover_abandoned`. What was asked of the provider has been answered then.
    """
    try:
        is_recovered = write_transaction(partial(_recover, live, may_go_on=may_go_on), lock_seconds=lock_seconds)
    except OperationalError as error:
        if is_locked(error):
            return False
        raise
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001  (a newer version may have written what this one cannot read)
        logger.error("Reply %s could not be recovered: %s", live.pk, describe(error))
        return False
    if is_recovered is Recovered.PARKED:
        logger.warning("Reply %s of a worker that died goes on with its tools.", live.pk)
        reply_parked(live.pk)
    elif is_recovered and live.worker != NOBODY:
        logger.warning("Reply %s of a worker that died was ended with what was saved of it.", live.pk)
    return bool(is_recovered)


def _unlocked(lives: LiveReplyQuerySet) -> list[LiveReply]:
    """Return those that no process has locked: a worker that is paused while it saves holds all of its replies."""
    using = live_database()
    if not connections[using].features.has_select_for_update_skip_locked:
        return list(lives.using(using))
    with savepoint(using):
        # Without a lock timeout, which costs a statement: this waits for no lock.
        return list(lives.using(using).select_for_update(skip_locked=True))


class Recovered(enum.Enum):
    """What became of a reply."""

    ENDED = enum.auto()
    # It waits until this process goes on with it.
    PARKED = enum.auto()


def _recover(live: LiveReply, *, may_go_on: bool) -> Recovered | None:
    using = live_database()
    Conversation.objects.using(using).filter(pk=live.conversation_id).update(last_activity=Now())
    # An update instead of a lock, so that the same statement takes the reply on both databases.
    taken = LiveReply.objects.using(using).expired().filter(pk=live.pk)
    if not taken.update(expires_at=LiveReply.lease(), worker=RECOVERED):
        return None
    # Read under that lock: a stop may have been asked for since.
    row = LiveReply.objects.using(using).get(pk=live.pk)
    received = ReplyEvent.objects.using(using).stream(live.pk)
    has_calls = any(event.kind == TOOL_CALL for event in received)
    if may_go_on and has_calls and not row.stop and live.worker != NOBODY and tool_rows.park(live.pk, received, using):
        return Recovered.PARKED
    columns = ("continued_at", "model", "output_name", "tokens_estimated", *MEASURED)
    fields: dict[str, Any] = {**Message.objects.using(using).values(*columns).get(pk=live.pk)}
    is_waiting = live.worker == NOBODY and tool_rows.waits_for_answer(live.pk, using)
    ending = _ending(row, received, is_waiting=is_waiting)
    received += tool_rows.closing(live.pk, received, using, is_expired=ending.end_reason == "approval_expired")
    end_reply(Completion(live.pk, live.conversation_id, RECOVERED, ending, received, fields), using)
    return Recovered.ENDED


def _ending(row: LiveReply, received: Sequence[Event], *, is_waiting: bool) -> Ending:
    """Return how the reply ends: as the stop that its worker did not see, since nobody answered, or as the worker died."""
    if row.stop:
        return endings.stopped(row.stop, without_tools_cut(received, row.stop_position, 1))
    if is_waiting:
        return endings.stopped("approval_expired")
    return endings.broken("lease_expired", received=any(event.kind not in NO_CONTENT for event in received))


class Takeover:
    """Does a little between two flushes, each reply in a transaction of its own. Used by the writer's thread.

    own: the replies of this process, whose leases it must not judge. is_replay_due: endings may be waiting in the journal.
    """

    def __init__(self, own: Container[uuid.UUID]) -> None:
        self._own = own
        # Other processes may have left endings before this one began.
        self.is_replay_due = True
        self._next_replay = self._next_recovery = 0.0

    def replay_soon(self) -> None:
        """Replay the journal at the next turn: the database answers again, or there is a new record. From any thread."""
        self.is_replay_due = True
        self._next_replay = 0.0

    def work(self) -> None:
        """Replay endings that wait, or end replies of dead workers. Blocking, for half a second at most.

        Whatever it raises, the replay is tried again.
        """
        if self.is_replay_due and time.monotonic() >= self._next_replay:
            self._replay()
        else:
            self._recover()

    def _replay(self) -> None:
        # First, since another thread may add a record meanwhile.
        self.is_replay_due = False
        try:
            replayed = journal.replay(_REPLAYS)
        except Exception:
            self.is_replay_due = True
            self._next_replay = time.monotonic() + _RETRY_SECONDS
            raise
        self.is_replay_due |= replayed.is_more

    def _recover(self) -> None:
        """End the replies of dead workers, once a lease; see `db.leases`."""
        if time.monotonic() < self._next_recovery or not lease_judge.may_expire_others:
            return
        # By reply, not by worker: a reply of this worker whose run is gone must be recovered, too.
        recovered, is_more = recover_abandoned(LiveReply.objects.all(), exclude=self._own, may_go_on=True)
        if not (recovered and is_more):
            self._next_recovery = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS
