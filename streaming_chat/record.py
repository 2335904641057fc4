"""What the database holds of replies, for whoever follows them in another process. It is the record: a tail is only faster.

Sound in one order: the claims first, then the events of those that are live, and the message of those without a claim.
Such a reply has ended, or is gone, by the time that its message is read; read before the claim, the message could still
be live and the events deleted already.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Container, Iterable, Mapping
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from .closing import settle_reply
from .events import Event
from .logs import describe, logger
from .models import LiveReply, LiveReplyQuerySet, Message, ReplyEvent, live_database
from .steadiness import steadiness

# Each process pushes it ahead every 5 s for what it follows; twice that forgives one late update.
_FOLLOWED = timedelta(seconds=10)
# One statement asks for so many replies: SQLite takes an expression of at most 1,000 levels.
_AT_ONCE = 200
# How long others' replies are settled before one's own are looked after again: a dead worker leaves up to 2,000, each took
# 3.3 ms on a PostgreSQL of this machine, and a worker that settles for LEASE_SECONDS loses its own claims.
_SETTLING_SECONDS = 0.5
# A lock that is held for longer is somebody's who is paused.
_LOCK_SECONDS = 0.1


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
    settle_until = time.monotonic() + _SETTLING_SECONDS
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        workers = _workers(some, settle_until)
        found |= _live({pk: starts[pk] for pk in workers}, workers)
        found |= _ended({pk: starts[pk] for pk in some if pk not in workers})
    steadiness.worked()
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
    """Tell the processes which write these that somebody follows, so that they do not count as deserted. Blocking."""
    using = live_database()
    with transaction.atomic(using=using):
        free = list(message_ids)
        if connections[using].features.has_select_for_update_skip_locked:
            # Rows that a writer holds are left for the next push: waiting for them while holding others could deadlock.
            # Not on SQLite: it has no such locks, and a transaction there must begin with a write (models.py).
            rows = LiveReply.objects.using(using).filter(pk__in=free).order_by("pk")
            free = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        LiveReply.objects.using(using).filter(pk__in=free).update(followed_until=Now() + _FOLLOWED)


def settle_abandoned(
    lives: LiveReplyQuerySet, *, until: float | None = None, but: Container[uuid.UUID] = ()
) -> tuple[set[uuid.UUID], bool]:
    """End those of these whose worker died, for half a second; return which, and whether more are left. Blocking.

    until: another end of that time, by the monotonic clock. but: those to leave. What a paused process holds is left, too.
    """
    until = time.monotonic() + _SETTLING_SECONDS if until is None else until
    settled: set[uuid.UUID] = set()
    # In any order: several processes meet a dead worker's replies at once.
    for live in _not_held(lives.abandoned().order_by("?")):
        if time.monotonic() >= until:
            return settled, True
        if live.pk not in but and settle(live, _LOCK_SECONDS):
            settled.add(live.pk)
    return settled, False


def settle(live: LiveReply, lock_seconds: float = 2.0) -> bool:
    """End a reply whose worker died; False when that cannot be, now or by this version. Blocking."""
    try:
        is_settled = settle_reply(live, lock_seconds)
        if is_settled:
            logger.warning("Reply %s of a worker that died was ended with what was saved of it.", live.pk)
        return is_settled
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001  (a newer version may have written what we cannot read; the others go on)
        logger.error("Reply %s could not be settled: %s", live.pk, describe(error))
        return False


def _not_held(lives: LiveReplyQuerySet) -> list[LiveReply]:
    """Return those that nobody has locked: a worker that is paused while it saves holds all of its replies."""
    using = live_database()
    if not connections[using].features.has_select_for_update_skip_locked:
        return list(lives.using(using))
    with transaction.atomic(using=using):
        return list(lives.using(using).select_for_update(skip_locked=True))


def _workers(ids: list[uuid.UUID], settle_until: float) -> dict[uuid.UUID, str]:
    """Return the replies among these that are live, with their workers; settle those whose worker died."""
    using = live_database()
    lives = LiveReply.objects.using(using).filter(pk__in=ids)
    is_expired = ExpressionWrapper(Q(expires_at__lt=Now()), BooleanField())
    rows = list(lives.annotate(is_expired=is_expired).values_list("pk", "worker", "is_expired"))
    expired = [pk for pk, _worker, is_expired in rows if is_expired]
    settled = settle_abandoned(lives.filter(pk__in=expired), until=settle_until)[0] if expired else set()
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
