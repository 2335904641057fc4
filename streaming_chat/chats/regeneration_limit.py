"""How often an owner may ask for another reply to the same message: one that fails at once uses no quota and no slot."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from streaming_chat.exceptions import APIError
from streaming_chat.models import Message

_PERIOD = timedelta(minutes=1)
# In this period. A person reads what they ask for.
_MAX_REGENERATIONS = 20


def require_few_regenerations(owner_key: str, using: str) -> None:
    """Raise APIError 429 if an owner has regenerated or continued too many replies in the last minute, in any process.

    Exact within a conversation, which the caller has locked; with simultaneous requests in others, as many more as the owner
    may have live replies.
    """
    replies = Message.objects.using(using).filter(role=Message.Role.ASSISTANT)
    first = replies.filter(parent=OuterRef("parent"), pk__lt=OuterRef("pk"))
    # Through the conversations that were active in this period: an owner has few of them.
    recent = replies.filter(
        conversation__owner_key=owner_key,
        conversation__last_activity__gte=Now() - _PERIOD,
        created_at__gte=Now() - _PERIOD,
    )
    if recent.filter(Exists(first)).count() >= _MAX_REGENERATIONS:
        raise APIError(429, "too_many_regenerations", retry_after=round(_PERIOD.total_seconds()))
