"""Erasing an owner: of all their conversations no text is left, and nobody they belong to; the numbers stay.

Their replies that are being written are stopped first. A few conversations in each transaction, which locks them first, as
everything here does (models.py).
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.apps import apps
from django.db import OperationalError, router
from django.db.models import CharField, F, Q, Value
from django.db.models.functions import Cast, Concat, Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_conflict, is_locked
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import AccessRecord, Conversation, Feedback, LiveReply, Message, QuotaUse
from streaming_chat.notifiers import get_notifier
from streaming_chat.search import backends, entries

from . import copies
from .owners import Owner

_AT_ONCE = 50
_LOOK_SECONDS = 0.2
# Searches for one or two letters are not for somebody.
_LEAST_NAME_CHARS = 3


class Holdings(NamedTuple):
    """What there is of an owner."""

    conversations: int
    messages: int
    live: int
    feedback: int
    quota_uses: int
    terms: int


def holdings(owner: Owner) -> Holdings:
    """Return how much `erase` would find."""
    conversations = _conversations(owner)
    return Holdings(
        conversations.count(),
        Message.objects.using(live_database()).filter(conversation__owner_key=owner.key).count(),
        _live(owner).count(),
        _feedback(owner).count(),
        _quota_uses(owner).count(),
        _naming(owner).count(),
    )


def stop(owner: Owner) -> int:
    """Stop the replies that are being written for an owner; return how many still are after a while. Blocking.

    A worker that lives ends them within a second; those of a dead one are settled when its claim has not been renewed for
    LEASE_SECONDS.
    """
    seen: dict[uuid.UUID, datetime] = {}
    until = time.monotonic() + 2 * conf.STREAMING_CHAT_LEASE_SECONDS
    watched_until = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS
    while lives := list(_live(owner)):
        _request_stop(owner)
        for live in lives:
            get_notifier().wake(live_database(), live.worker, live.pk)
        if time.monotonic() > watched_until:
            for live in lives:
                if seen.get(live.pk) == live.expires_at:
                    recover_reply(live)
        if time.monotonic() > until:
            break
        for live in lives:
            seen.setdefault(live.pk, live.expires_at)
        time.sleep(_LOOK_SECONDS)
    return len(lives)


def _request_stop(owner: Owner) -> None:
    try:
        write_transaction(partial(_live(owner).request_stop, "staff"))
    except OperationalError as error:
        # A worker that is paused holds one: it is asked again at the next look.
        if not is_locked(error):
            raise


def erase(owner: Owner) -> Iterator[int]:
    """Erase an owner, and yield how many conversations after each transaction. Blocking.

    Those with a live reply, and those whose rows somebody holds, are left: look for them, and call it again.
    """
    # Before anything is written: SQLite leaves the text of a row that is only written anew.
    for alias in {live_database(), router.db_for_write(AccessRecord)}:
        backends.overwrite_deleted(alias)
    last = uuid.UUID(int=0)
    while ids := list(_conversations(owner).filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):
        last = ids[-1]
        try:
            yield write_transaction(partial(_erase, owner, ids))
        except OperationalError as error:
            if not (is_locked(error) or is_conflict(error)):
                raise
    write_transaction(partial(_forget_elsewhere, owner))
    using = live_database()
    entries.purge(using)
    copies.empty_log(using)


def _forget_elsewhere(owner: Owner) -> None:
    """Remove what names the owner outside conversations."""
    _anonymise(_feedback(owner))
    _quota_uses(owner).delete()
    _naming(owner).update(terms="")


def _erase(owner: Owner, ids: list[uuid.UUID]) -> int:
    using = live_database()
    mine = _conversations(owner).filter(pk__in=ids)
    # The write is the lock; what has begun since they were chosen is seen after it.
    mine.update(last_activity=F("last_activity"))
    still = list(mine.filter(live=None).values_list("pk", flat=True))
    messages = Message.objects.using(using).filter(conversation_id__in=still)
    message_ids = list(messages.values_list("pk", flat=True))
    # Before the rows: SQLite overwrites what is taken away from then on.
    copies.forget(message_ids, using, titles_of=still, of_index=False)
    entries.forget(message_ids, using, titles_of=still, at_once=False)
    messages.update(text="", parts=[], send_key=None, body_digest="")
    _anonymise(Feedback.objects.using(using).filter(message__conversation_id__in=still))
    Conversation.objects.using(using).filter(pk__in=still).update(
        owner=None, owner_key="", title="", system_prompt="", metadata={}, erased_at=Now()
    )
    _forget_notes(still, using)
    return len(still)


def _conversations(owner: Owner) -> Any:
    return Conversation.objects.using(live_database()).owned_by(owner.key)


def _live(owner: Owner) -> Any:
    return LiveReply.objects.using(live_database()).filter(conversation__owner_key=owner.key)


def _feedback(owner: Owner) -> Any:
    return Feedback.objects.using(live_database()).filter(owner_key=owner.key)


def _quota_uses(owner: Owner) -> Any:
    """Return what `DatabaseQuota` counts for them. Of network addresses it keeps a keyed hash, for three days."""
    return QuotaUse.objects.using(live_database()).filter(key=f"owner {owner.key}")


def _naming(owner: Owner) -> Any:
    """Return the access records whose terms name them, whatever else they say: it was what they were sought by."""
    about = Q(owner_key=owner.key)
    for name in owner.names:
        about |= Q(terms__iexact=name)
        if len(name) >= _LEAST_NAME_CHARS:
            about |= Q(terms__iregex=rf"(^|[^\w@.+-]){re.escape(name)}($|[^\w@.+-])")
    return AccessRecord.objects.using(router.db_for_write(AccessRecord)).filter(~Q(terms=""), about)


def _forget_notes(conversation_ids: list[uuid.UUID], using: str) -> None:
    """Empty what reviewers noted of these, where there are reviews: a note quotes."""
    if review := apps.all_models["streaming_chat"].get("review"):
        review._default_manager.using(using).filter(conversation_id__in=conversation_ids).update(notes="")


def _anonymise(feedback: Any) -> None:
    """Keep the values alone. The key of each is its own: two of one message may not have the same."""
    feedback.update(comment="", by=None, owner_key=Concat(Value("erased:"), Cast("pk", CharField())))
