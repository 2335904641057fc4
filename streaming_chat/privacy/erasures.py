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
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import (
    AccessRecord,
    AccessToken,
    Conversation,
    Feedback,
    LiveReply,
    Message,
    QuotaUse,
    Review,
    ShareLink,
    ToolList,
)
from streaming_chat.notifiers import get_notifier
from streaming_chat.search import backends, entries

from . import copies

_PAGE_SIZE = 50
_POLL_SECONDS = 0.2
# Searches for one or two letters are not searches for a person.
_MIN_NAME_CHARS = 3


class OwnerData(NamedTuple):
    """How many rows there are of an owner. live: live replies. terms: access records whose search terms name them.

    tokens: access tokens. links: share links.
    """

    conversations: int
    messages: int
    live: int
    feedback: int
    quota_uses: int
    terms: int
    tokens: int
    links: int


def count_data(owner: Owner) -> OwnerData:
    """Return how much `erase` would find."""
    messages = Message.objects.using(live_database()).filter(conversation__owner_key=owner.key)
    of_owner = (_conversations(owner), messages, _live(owner), _feedback(owner), _quota_uses(owner))
    return OwnerData(*(query.count() for query in (*of_owner, _searches_for(owner), _tokens(owner), _links(owner))))


def stop(owner: Owner) -> None:
    """Stop an owner's live replies, for at most two lease times. Blocking.

    A running worker ends them within a second. The replies of a dead one are recovered once their lease has not been
    renewed for LEASE_SECONDS.
    """
    lease_seconds = conf.STREAMING_CHAT_LEASE_SECONDS
    started = time.monotonic()
    leases: dict[uuid.UUID, datetime] = {}
    while live_replies := list(_live(owner)):
        _request_stop(owner, live_replies)
        waited = time.monotonic() - started
        if waited > lease_seconds:
            _recover_unrenewed(live_replies, leases)
        if waited > 2 * lease_seconds:
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
    Review.objects.using(using).filter(conversation_id__in=still).update(notes="")
    ShareLink.objects.using(using).filter(pk__in=still).delete()
    ToolList.conversations.through.objects.using(using).filter(conversation_id__in=still).delete()
    Conversation.objects.using(using).filter(pk__in=still).update(
        owner=None, owner_key="", chat_id=None, title="", system_prompt="", metadata={}, erased_at=Now()
    )
    return len(still)


def _erase_elsewhere(owner: Owner) -> None:
    """Erase what names the owner outside their conversations."""
    _anonymise(_feedback(owner))
    _quota_uses(owner).delete()
    _searches_for(owner).update(terms="")


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
