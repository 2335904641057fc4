"""Merges what a visitor wrote into a user's account, all of it at once. No HTTP.

Live replies go on. Their rows keep the visitor's key and slot, which only limit the live replies of an owner: the user may
already have as many, and each row is deleted within MAX_REPLY_SECONDS.
"""

from __future__ import annotations

from functools import partial

from django.db import router
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import AccessedOwner, AccessRecord, Conversation, DailyOwnerUsage, Feedback

from .owners import Owner

TITLES = 5
_COUNTS = ("replies", "input_tokens", "output_tokens", "uncosted")


def offer(visitor_key: str) -> tuple[int, list[str]]:
    """Return how many conversations a visitor has, and the titles of the newest; (0, []) for ""."""
    mine = Conversation.objects.using(live_database()).for_owner(visitor_key)
    newest = mine.order_by("-last_activity", "-id").values_list("title", flat=True)
    return mine.count(), list(newest[:TITLES])


def merge_visitor(visitor_key: str, owner: Owner) -> int:
    """Move everything of a visitor's to a user; return how many conversations, without deleted ones."""
    if not visitor_key:
        return 0
    return write_transaction(partial(_move, visitor_key, owner))


def _move(visitor_key: str, owner: Owner) -> int:
    using = live_database()
    conversations = Conversation.objects.using(using)
    theirs = {"owner": owner.user, "owner_key": owner.key}
    _release_chat_ids(visitor_key, owner)
    moved = conversations.for_owner(visitor_key).update(**theirs)
    # Deleted ones, too: they can be restored for a minute.
    conversations.owned_by(visitor_key).update(**theirs)
    feedback = Feedback.objects.using(using).filter(owner_key=visitor_key)
    feedback.filter(message__conversation__owner_key=owner.key).update(owner_key=owner.key, by=owner.user)
    _rename_in_access_records(visitor_key, owner)
    _add_usage(visitor_key, owner)
    return moved


def _add_usage(visitor_key: str, owner: Owner) -> None:
    """Add what the visitor used on each day to what the user did. An erasure of the user removes it, too."""
    usage = DailyOwnerUsage.objects.using(live_database())
    theirs, users = usage.filter(owner_key=visitor_key), usage.filter(owner_key=owner.key)
    added = {name: Subquery(theirs.filter(day=OuterRef("day")).values(name)) for name in (*_COUNTS, "cost")}
    # A cost is NULL if none is known.
    cost = Coalesce(F("cost") + added["cost"], F("cost"), added["cost"])
    users.filter(day__in=theirs.values("day")).update(**{name: F(name) + added[name] for name in _COUNTS}, cost=cost)
    theirs.filter(day__in=users.values("day")).delete()
    theirs.update(owner_key=owner.key)


def _rename_in_access_records(visitor_key: str, owner: Owner) -> None:
    """Let the access records of the visitor's conversations name the user, by whom staff find them."""
    using = router.db_for_write(AccessRecord)
    AccessRecord.objects.using(using).filter(owner_key=visitor_key).update(owner_key=owner.key)
    AccessedOwner.objects.using(using).filter(owner_key=visitor_key).update(owner_key=owner.key)


def _release_chat_ids(visitor_key: str, owner: Owner) -> None:
    """Take away the chat ids of a visitor's that the user has, too: a client that names one means the user's."""
    conversations = Conversation.objects.using(live_database())
    taken = conversations.owned_by(owner.key).exclude(chat_id=None).values("chat_id")
    conversations.owned_by(visitor_key).filter(chat_id__in=taken).update(chat_id=None)
