"""Ends the replies of workers that died, with what was saved of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Container
from functools import partial

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.models.functions import Now

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_locked
from streaming_chat.db.locks import bounded_lock_wait
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation, LiveReply, LiveReplyQuerySet, ReplyEvent
from streaming_chat.notifiers import get_notifier
from streaming_chat.protocol import endings

from .completion import announce_end, end_reply

# How long others' replies are settled before one's own are looked after again: a dead worker leaves up to 2,000, each took
# 3.3 ms on a PostgreSQL of this machine, and a worker that settles for LEASE_SECONDS loses its own claims.
RECOVERY_SECONDS = 0.5

# A lock that is held for longer is somebody's who is paused.
_LOCK_SECONDS = 0.1


def recover_abandoned(
    lives: LiveReplyQuerySet, *, until: float | None = None, but: Container[uuid.UUID] = ()
) -> tuple[set[uuid.UUID], bool]:
    """End those of these whose worker died, for half a second; return which, and whether more are left. Blocking.

    until: another end of that time, by the monotonic clock. but: those to leave. What a paused process holds is left, too.
    """
    until = time.monotonic() + RECOVERY_SECONDS if until is None else until
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
        is_settled = recover_reply(live, lock_seconds)
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


def recover_reply(live: LiveReply, lock_seconds: float = 2.0) -> bool:
    """End a reply whose worker died, with what was saved of it; False when its worker lives or another settled it.

    One transaction for one reply. A killed reply is never run again: it would be billed twice. False also when a
    worker that is paused in a transaction holds its rows for longer than this.
    """
    try:
        return _settle(live, lock_seconds)
    except OperationalError as error:
        if is_locked(error):
            return False
        raise


def _settle(live: LiveReply, lock_seconds: float) -> bool:
    using = live_database()
    with transaction.atomic(using=using), bounded_lock_wait(using, lock_seconds):
        Conversation.objects.using(using).filter(pk=live.conversation_id).update(last_activity=Now())
        # Pushed ahead rather than locked, so that the same statement takes it on both databases.
        taken = LiveReply.objects.using(using).expired().filter(pk=live.pk)
        if not taken.update(expires_at=LiveReply.lease(), worker="settled"):
            return False
        row = LiveReply.objects.using(using).get(pk=live.pk)
        received = ReplyEvent.objects.using(using).stream(live.pk)
        if row.stop:
            ending = endings.stopped(row.stop, row.stop_position)
        else:
            ending = endings.broken("lease_expired", received=bool(received))
        ended = end_reply(live.pk, live.conversation_id, ending, received, using=using)
        if ended is None:
            return False
        get_notifier().notify_on_commit(using, [live.pk])
        told = partial(announce_end, live.pk, live.conversation_id, ending.status, ending.end_reason)
        transaction.on_commit(told, using=using)
        return True
