"""Erasing an owner: none of their conversations keeps any text or owner; the numbers stay.

Their live replies are stopped first. A few conversations in each transaction, which locks them first (see
models/conversations.py).
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import OperationalError, router
from django.db.models import CharField, F, Q, Value
from django.db.models.functions import Cast, Concat, Now

from streaming_chat.accounts.owners import Owner
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_locked
from streaming_chat.db.paging import write_pages
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.recovery import recover_abandoned, recover_reply
from streaming_chat.models import (
    NOBODY,
    AccessRecord,
    AccessToken,
    Alert,
    BlockedOwner,
    Conversation,
    DailyOwnerUsage,
    Feedback,
    LiveReply,
    Message,
    QuotaUse,
    ShareLink,
    ToolCall,
    ToolList,
)
from streaming_chat.notifiers import get_notifier
from streaming_chat.search import backends, entries

from . import copies

_PAGE_SIZE = 50
_POLL_SECONDS = 0.2
# Searches for one or two letters are not searches for a person.
_MIN_NAME_CHARS = 3
# Columns of a conversation. Nobody can do anything about it any more, so it needs no attention.
_ERASED: dict[str, Any] = {
    "owner": None,
    "owner_key": "",
    "chat_id": None,
    "title": "",
    "system_prompt": "",
    "metadata": {},
    "needs_attention": False,
}


class OwnerData(NamedTuple):
    """How many rows there are of an owner. live: live replies. terms: access records whose search terms name them.

    tokens: access tokens. links: share links. usage: days on which something was used.
    """

    conversations: int
    messages: int
    live: int
    feedback: int
    quota_uses: int
    terms: int
    tokens: int
    links: int
    usage: int


def count_data(owner: Owner) -> OwnerData:
    """Return how much `erase` would find."""
    messages = Message.objects.using(live_database()).filter(conversation__owner_key=owner.key)
    of_owner = (_conversations(owner), messages, _live(owner), _feedback(owner), _quota_uses(owner))
    others = (_searches_for(owner), _tokens(owner), _links(owner), _usage(owner))
    return OwnerData(*(query.count() for query in (*of_owner, *others)))


def count_conversations(owner: Owner) -> int:
    """Return how many conversations an owner has, deleted ones included."""
    count: int = _conversations(owner).count()
    return count


def erase_for(owner: Owner, seconds: float) -> bool:
    """Erase an owner for about so many seconds; return whether it is done. If not, call it again. Blocking.

    It does not wait for the replies of dead workers, which another call finds recovered.
    """
    deadline = time.monotonic() + seconds
    stop(owner, seconds / 2)
    for _count in erase(owner):
        if time.monotonic() > deadline and count_conversations(owner):
            return False
    return not count_conversations(owner)


def stop(owner: Owner, seconds: float | None = None) -> None:
    """Stop an owner's live replies. seconds: the longest wait, by default two lease times. Blocking.

    A running worker ends them within a second. The replies of a dead one are recovered once their lease has not been
    renewed for LEASE_SECONDS.
    """
    lease_seconds = conf.STREAMING_CHAT_LEASE_SECONDS
    longest = 2 * lease_seconds if seconds is None else seconds
    started = time.monotonic()
    leases: dict[uuid.UUID, datetime] = {}
    while live_replies := list(_live(owner)):
        _request_stop(owner, live_replies)
        waited = time.monotonic() - started
        if waited > lease_seconds:
            _recover_unrenewed(live_replies, leases)
        if waited > longest:
            return
        for live in live_replies:
            leases.setdefault(live.pk, live.expires_at)
        time.sleep(_POLL_SECONDS)


def _request_stop(owner: Owner, live_replies: list[LiveReply]) -> None:
    try:
        write_transaction(partial(_live(owner).request_stop, "staff"))
    except OperationalError as error:
        # A paused worker holds a row; the next turn asks again.
        if not is_locked(error):
            raise
    # Replies that wait for an answer have no worker.
    recover_abandoned(_live(owner).filter(worker=NOBODY))
    for live in live_replies:
        get_notifier().wake(live_database(), live.worker, live.pk)


def _recover_unrenewed(live_replies: list[LiveReply], leases: dict[uuid.UUID, datetime]) -> None:
    for live in live_replies:
        if leases.get(live.pk) == live.expires_at:
            recover_reply(live)


def erase(owner: Owner) -> Iterator[int]:
    """Erase an owner, and yield how many conversations after each transaction. Blocking.

    Conversations with a live reply and locked ones are skipped: check `count_data`, and call this again.
    """
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    for using in {live_database(), router.db_for_write(AccessRecord)}:
        backends.overwrite_deleted(using)
    # First, so that no program goes on writing.
    write_transaction(_tokens(owner).delete)
    yield from write_pages(_conversations(owner), _PAGE_SIZE, partial(_erase_conversations, owner))
    write_transaction(partial(_erase_elsewhere, owner))
    copies.remove_unused_tool_lists(live_database())
    entries.purge(live_database())
    copies.empty_log(live_database())


def _erase_conversations(owner: Owner, ids: list[uuid.UUID]) -> int:
    using = live_database()
    rows = _conversations(owner).filter(pk__in=ids)
    # The write is the lock; replies that began in between are seen after it.
    rows.update(last_activity=F("last_activity"))
    still = list(rows.filter(live=None).values_list("pk", flat=True))
    messages = Message.objects.using(using).filter(conversation_id__in=still)
    message_ids = list(messages.values_list("pk", flat=True))
    # Before the rows, since it makes SQLite overwrite what is removed after it.
    copies.remove(message_ids, using)
    entries.remove(message_ids, using, titles_of=still, purge_after_commit=False)
    messages.update(
        text="", parts=[], has_more_than_text=False, page_context=None, send_key=None, body_digest="", history_digest=""
    )
    copies.remove_chosen_models(messages)
    copies.remove_chosen_models(Conversation.objects.using(using).filter(pk__in=still))
    _anonymise(Feedback.objects.using(using).filter(message__conversation_id__in=still))
    copies.remove_notes(still, using)
    copies.remove_calls(message_ids, using)
    if owner.user is not None:
        # Who has answered: staff stay.
        ToolCall.objects.using(using).filter(message_id__in=message_ids, by=owner.user).update(by=None)
    copies.remove_corrections(message_ids, using)
    ShareLink.objects.using(using).filter(pk__in=still).delete()
    ToolList.conversations.through.objects.using(using).filter(conversation_id__in=still).delete()
    Conversation.objects.using(using).filter(pk__in=still).update(**_ERASED, erased_at=Now())
    return len(still)


def _erase_elsewhere(owner: Owner) -> None:
    """Erase what names the owner outside their conversations."""
    _anonymise(_feedback(owner))
    _quota_uses(owner).delete()
    _usage(owner).delete()
    # The block itself stays: an erasure must not be a way out of it.
    BlockedOwner.objects.using(live_database()).filter(pk=owner.key).update(reason="")
    _searches_for(owner).update(terms="")
    Alert.objects.using(live_database()).filter(owner_key=owner.key).delete()


def _anonymise(feedback: Any) -> None:
    """Keep the values only. The keys differ, since two ratings of one message must not have the same."""
    feedback.update(comment="", by=None, owner_key=Concat(Value("erased:"), Cast("pk", CharField())))


def _conversations(owner: Owner) -> Any:
    return Conversation.objects.using(live_database()).owned_by(owner.key)


def _live(owner: Owner) -> Any:
    return LiveReply.objects.using(live_database()).filter(conversation__owner_key=owner.key)


def _feedback(owner: Owner) -> Any:
    return Feedback.objects.using(live_database()).filter(owner_key=owner.key)


def _quota_uses(owner: Owner) -> Any:
    """Return the rows that `DatabaseQuota` counts for an owner. It keeps network addresses as a keyed hash, for 3 days."""
    return QuotaUse.objects.using(live_database()).filter(key=f"owner {owner.key}")


def _usage(owner: Owner) -> Any:
    return DailyOwnerUsage.objects.using(live_database()).filter(owner_key=owner.key)


def _tokens(owner: Owner) -> Any:
    return AccessToken.objects.using(live_database()).filter(owner=owner.user)


def _links(owner: Owner) -> Any:
    return ShareLink.objects.using(live_database()).filter(conversation__owner_key=owner.key)


def _searches_for(owner: Owner) -> Any:
    """Return the access records whose search terms name an owner."""
    about = Q(owner_key=owner.key)
    for name in _names(owner):
        about |= Q(terms__iexact=name)
        if len(name) >= _MIN_NAME_CHARS:
            about |= Q(terms__iregex=rf"(^|[^\w@.+-]){re.escape(name)}($|[^\w@.+-])")
    return AccessRecord.objects.using(router.db_for_write(AccessRecord)).filter(~Q(terms=""), about)


def _names(owner: Owner) -> list[str]:
    """Return what staff may have searched for: the owner key, the username, the e-mail address."""
    names = [owner.key]
    if owner.user is not None:
        names += [owner.user.get_username(), getattr(owner.user, owner.user.get_email_field_name(), "")]
    return [str(name) for name in names if name]
