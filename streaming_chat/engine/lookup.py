"""What the database holds of replies, for whoever follows them in another process. It is the record: a tail is only faster.

Sound in one order: the claims first, then the events of those that are live, and the message of those without a claim.
Such a reply has ended, or is gone, by the time that its message is read; read before the claim, the message could still
be live and the events deleted already.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.protocol.events import Event

from .recovery import RECOVERY_SECONDS, recover_abandoned

# Each process pushes it ahead every 5 s for what it follows; twice that forgives one late update.
_FOLLOWED = timedelta(seconds=10)
# One statement asks for so many replies: SQLite takes an expression of at most 1,000 levels.
_AT_ONCE = 200


class Reading(NamedTuple):
    """What a look at a reply found.

    events: those saved from the position asked for. next: where the next row of the database will begin. end: the
    ending's payload once it is saved, and end_position where the reply then ends. exists: False when there is no such
    reply any more. worker: who writes it.
    """

    events: list[Event]
    next: int
    end: dict[str, Any] | None = None
    end_position: int = 0
    exists: bool = True
    worker: str = ""


def look(starts: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, Reading]:
    """Return what there is of each of these replies, from the position where one of its rows begins. Blocking.

    A reply that is just ending may be missing: look again. Those of dead workers are settled on the way, as many as can
    be in half a second.
    """
    found: dict[uuid.UUID, Reading] = {}
    ids = list(starts)
    settle_until = time.monotonic() + RECOVERY_SECONDS
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        workers = _workers(some, settle_until)
        found |= _live({pk: starts[pk] for pk in workers}, workers)
        found |= _ended({pk: starts[pk] for pk in some if pk not in workers})
    lease_judge.database_answered()
    return found


def read(message_id: uuid.UUID) -> Reading:
    """Return all there is of one reply. Blocking."""
    # A reply that ends or is settled in between takes two looks; where rows do not fit together, none would be enough.
    for _look in range(5):
        if found := look({message_id: 1}):
            return found[message_id]
    return Reading([], 1)


def of_ended(message: Message) -> Reading:
    """Return what a reply's own row says, once it has ended; its events are from position 1."""
    return Reading(message.events(), 1, message.end_payload(), message.end_position)


def push(message_ids: Iterable[uuid.UUID]) -> None:
    """Tell the processes which write these that somebody follows, so that they do not count as unfollowed. Blocking."""
    using = live_database()
    with transaction.atomic(using=using):
        free = list(message_ids)
        if connections[using].features.has_select_for_update_skip_locked:
            # Rows that a writer holds are left for the next push: waiting for them while holding others could deadlock.
            # Not on SQLite: it has no such locks, and a transaction there must begin with a write (models.py).
            rows = LiveReply.objects.using(using).filter(pk__in=free).order_by("pk")
            free = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        LiveReply.objects.using(using).filter(pk__in=free).update(followed_until=Now() + _FOLLOWED)


def _workers(ids: list[uuid.UUID], settle_until: float) -> dict[uuid.UUID, str]:
    """Return the replies among these that are live, with their workers; settle those whose worker died."""
    using = live_database()
    lives = LiveReply.objects.using(using).filter(pk__in=ids)
    is_expired = ExpressionWrapper(Q(expires_at__lt=Now()), BooleanField())
    rows = list(lives.annotate(is_expired=is_expired).values_list("pk", "worker", "is_expired"))
    expired = [pk for pk, _worker, is_expired in rows if is_expired]
    settled = recover_abandoned(lives.filter(pk__in=expired), until=settle_until)[0] if expired else set()
    return {pk: worker for pk, worker, _is_expired in rows if pk not in settled}


def _live(starts: Mapping[uuid.UUID, int], workers: Mapping[uuid.UUID, str]) -> dict[uuid.UUID, Reading]:
    if not starts:
        return {}
    wanted = reduce(or_, (Q(message_id=pk, position__gte=start) for pk, start in starts.items()))
    rows = ReplyEvent.objects.using(live_database()).filter(wanted).order_by("message_id", "position")
    events: dict[uuid.UUID, list[Event]] = {pk: [] for pk in starts}
    ends = dict(starts)
    for pk, position, kind, payload in rows.values_list("message_id", "position", "kind", "payload"):
        if position == ends[pk]:
            event = Event(kind, payload)
            events[pk].append(event)
            ends[pk] += event.size
    return {pk: Reading(events[pk], ends[pk], worker=workers[pk]) for pk in starts}


def _ended(starts: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, Reading]:
    if not starts:
        return {}
    messages = Message.objects.using(live_database()).in_bulk(list(starts))
    found = {}
    for pk, start in starts.items():
        message = messages.get(pk)
        if message is None:
            found[pk] = Reading([], start, exists=False)
        elif not message.is_live:
            found[pk] = of_ended(message)
    return found
