"""What a visitor wrote becomes a user's, all of it at once, when the user says so. No HTTP.

Replies that are being written go on. Their rows keep the visitor's key and slot, since these only hold the cap per owner:
the user may have as many live ones already, and each claim is gone within MAX_REPLY_SECONDS.
"""

from __future__ import annotations

from django.db import OperationalError, transaction

from .models import Conversation, Feedback, live_database
from .outages import is_conflict
from .permissions import Owner

TITLES = 5
# A flush of the writer locks several conversations, too, in any order; PostgreSQL then undoes one of the two.
_CONFLICTS = 5


def offer(visitor_key: str) -> tuple[int, list[str]]:
    """Return how many conversations a visitor has, and the titles of the newest; (0, []) for ""."""
    mine = Conversation.objects.using(live_database()).for_owner(visitor_key)
    newest = mine.order_by("-last_activity", "-id").values_list("title", flat=True)
    return mine.count(), list(newest[:TITLES])


def claim(visitor_key: str, owner: Owner) -> int:
    """Move everything of a visitor's to a user; return how many conversations, those they deleted not counted."""
    if not visitor_key:
        return 0
    for _time in range(_CONFLICTS):
        try:
            return _move(visitor_key, owner)
        except OperationalError as error:
            if not is_conflict(error):
                raise
    return _move(visitor_key, owner)


def _move(visitor_key: str, owner: Owner) -> int:
    using = live_database()
    with transaction.atomic(using=using):
        conversations = Conversation.objects.using(using)
        theirs = {"owner": owner.user, "owner_key": owner.key}
        moved = conversations.for_owner(visitor_key).update(**theirs)
        # Deleted ones as well: they can be restored for a minute.
        conversations.owned_by(visitor_key).update(**theirs)
        feedback = Feedback.objects.using(using).filter(owner_key=visitor_key)
        feedback.filter(message__conversation__owner_key=owner.key).update(owner_key=owner.key, by=owner.user)
    return moved
