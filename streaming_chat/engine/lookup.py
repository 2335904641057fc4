"""Reads from the database what is saved of replies, for the processes that follow them.

It is sound in one order only: leases first, then the events of the replies that have one and the messages of the others.
A reply without a lease has ended, or is gone, by the time that its message is read. If the message were read before the
lease, it could still be live while the events are deleted already.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import LiveReply, LiveReplyQuerySet, Message, ReplyEvent
from streaming_chat.protocol.events import Event, length

from .recovery import RECOVERY_SECONDS, recover_abandoned

# Each process renews this every 5 s for the replies that it follows; one renewal may be late.
_FOLLOWED = timedelta(seconds=10)
# Replies of one statement: SQLite takes an expression of at most 1,000 levels.
_BATCH_SIZE = 200
# A reply that ends or is recovered during a read takes a second one. Rows that contradict each other stay so.
_ATTEMPTS = 5


class Reading(NamedTuple):
    """What is saved of one reply.

    events: those from `start` on, a position; all from position 1 once the reply has ended. ending: its payload, if the
    reply has ended, and ending_position where it ends for its readers. exists: False if the reply was deleted. worker: the
    one that writes the reply.
    """

    start: int
    events: list[Event]
    ending: dict[str, Any] | None = None
    ending_position: int = 0
    exists: bool = True
    worker: str = ""

    @property
    def next_start(self) -> int:
        """The position of the next row, from which to read again."""
        return self.start + length(self.events)

    @property
    def is_final(self) -> bool:
        return self.ending is not None or not self.exists


def read(starts: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, Reading]:
    """Return what is saved of these replies, by id. Blocking.

    starts: for each reply, the position of one of its rows, from which to read. A reply that is just ending may be missing:
    read again. Replies of dead workers are recovered first, as many as possible in half a second.
    """
    found: dict[uuid.UUID, Reading] = {}
    ids = list(starts)
    recover_until = time.monotonic() + RECOVERY_SECONDS
    for first in range(0, len(ids), _BATCH_SIZE):
        batch = ids[first : first + _BATCH_SIZE]
        workers = _find_workers(batch, recover_until)
        found |= _read_live({pk: starts[pk] for pk in workers}, workers)
        found |= _read_ended({pk: starts[pk] for pk in batch if pk not in workers})
    lease_judge.database_answered()
    return found


def read_all(message_id: uuid.UUID) -> Reading:
    """Return everything that is saved of one reply. Blocking."""
    for _attempt in range(_ATTEMPTS):
        if found := read({message_id: 1}):
            return found[message_id]
    return Reading(1, [])


def from_message(message: Message) -> Reading:
    """Return what the row of an ended reply says."""
    return Reading(1, message.events(), message.end_payload(), message.end_position)


def mark_followed(message_ids: Iterable[uuid.UUID]) -> None:
    """Tell the processes that write these replies that another process follows them. Blocking."""
    write_transaction(partial(_mark_followed, list(message_ids)))


def _mark_followed(ids: list[uuid.UUID]) -> None:
    using = live_database()
    lives = LiveReply.objects.using(using)
    # A row that a writer holds is left for the next time: waiting for it while holding others could deadlock. SQLite has
    # no row locks, and a transaction there must begin with a write.
    if connections[using].features.has_select_for_update_skip_locked:
        free = lives.filter(pk__in=ids).order_by("pk").select_for_update(skip_locked=True)
        ids = list(free.values_list("pk", flat=True))
    lives.filter(pk__in=ids).update(followed_until=Now() + _FOLLOWED)


def _find_workers(ids: list[uuid.UUID], recover_until: float) -> dict[uuid.UUID, str]:
    """Return the workers of those replies that are live, by reply. Replies of dead workers are recovered."""
    lives = LiveReply.objects.using(live_database()).filter(pk__in=ids)
    is_expired = ExpressionWrapper(Q(expires_at__lt=Now()), BooleanField())
    rows = list(lives.annotate(is_expired=is_expired).values_list("pk", "worker", "is_expired"))
    expired = [pk for pk, _worker, is_expired in rows if is_expired]
    recovered = _recover(lives.filter(pk__in=expired), recover_until) if expired else set()
    return {pk: worker for pk, worker, _is_expired in rows if pk not in recovered}


def _recover(lives: LiveReplyQuerySet, until: float) -> set[uuid.UUID]:
    return recover_abandoned(lives, until=until, may_go_on=True)[0]


def _read_live(starts: Mapping[uuid.UUID, int], workers: Mapping[uuid.UUID, str]) -> dict[uuid.UUID, Reading]:
    found = {pk: Reading(start, [], worker=workers[pk]) for pk, start in starts.items()}
    ends = dict(starts)
    for pk, position, kind, payload in _saved_events(starts):
        # Rows after a missing one are left for the next time.
        if position == ends[pk]:
            event = Event(kind, payload)
            found[pk].events.append(event)
            ends[pk] += event.size
    return found


def _saved_events(starts: Mapping[uuid.UUID, int]) -> Iterable[tuple[uuid.UUID, int, str, Any]]:
    if not starts:
        return []
    wanted = reduce(or_, (Q(message_id=pk, position__gte=start) for pk, start in starts.items()))
    rows = ReplyEvent.objects.using(live_database()).filter(wanted).order_by("message_id", "position")
    return rows.values_list("message_id", "position", "kind", "payload")


def _read_ended(starts: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, Reading]:
    if not starts:
        return {}
    messages = Message.objects.using(live_database()).in_bulk(list(starts))
    found = {pk: Reading(start, [], exists=False) for pk, start in starts.items() if pk not in messages}
    return found | {pk: from_message(message) for pk, message in messages.items() if not message.is_live}
