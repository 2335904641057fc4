"""Everything that is stored about one owner, as one JSON object that is made a piece at a time.

It has what the owner deleted, until it is removed, and nothing by which a token or a link could be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.models import (
    AccessToken,
    BlockedOwner,
    Conversation,
    ConversationQuerySet,
    DailyOwnerUsage,
    QuotaUse,
    ShareLink,
)

from .rows import to_json
from .transcripts import Jsonl, export


def owner_data(owner: Owner) -> Iterator[str]:
    """Yield the pieces of the JSON object. The caller saves an access record first."""
    yield to_json(_about(owner))[:-1] + ', "conversations": ['
    yield from _conversations(Conversation.objects.using(live_database()).owned_by(owner.key))
    yield "]}\n"


def _about(owner: Owner) -> dict[str, Any]:
    uses = QuotaUse.objects.using(live_database()).filter(key=f"owner {owner.key}").order_by("day")
    return {
        "owner": owner.key,
        "username": owner.user.get_username() if owner.user else None,
        "exported_at": timezone.now().isoformat(),
        "quota_uses": [{**use, "day": use["day"].isoformat()} for use in uses.values("day", "replies", "tokens")],
        "access_tokens": _access_tokens(owner),
        "shared_links": _shared_links(owner),
        "blocked": _block(owner),
        "daily_usage": _daily_usage(owner),
    }


def _access_tokens(owner: Owner) -> list[dict[str, Any]]:
    """Return the tokens, without what recognises one. `token` is its public beginning, by which lists name it."""
    tokens = AccessToken.objects.using(live_database()).filter(owner=owner.user).order_by("created_at", "id")
    fields = ("name", "scope", "created_at", "expires_at", "last_used_at")
    return [{"token": str(token), **{field: getattr(token, field) for field in fields}} for token in tokens]


def _shared_links(owner: Owner) -> list[dict[str, Any]]:
    links = ShareLink.objects.using(live_database()).filter(conversation__owner_key=owner.key).order_by("created_at")
    return [dict(link) for link in links.values("conversation", "message", "created_at")]


def _block(owner: Owner) -> dict[str, Any] | None:
    """Return that the owner is blocked, without the name of the member of staff."""
    found = BlockedOwner.objects.using(live_database()).filter(pk=owner.key).values("at", "reason").first()
    return dict(found) if found else None


def _daily_usage(owner: Owner) -> list[dict[str, Any]]:
    days = DailyOwnerUsage.objects.using(live_database()).filter(owner_key=owner.key).order_by("day")
    fields = ("replies", "input_tokens", "output_tokens", "cost")
    return [{"day": row.day.isoformat(), **{name: getattr(row, name) for name in fields}} for row in days]


def _conversations(conversations: ConversationQuerySet) -> Iterator[str]:
    """Yield the lines of a JSONL export with commas between them. JSON writes line breaks in a text as \\n."""
    is_between = False
    for chunk in export(conversations, Jsonl(is_for_owner=True)):
        text = chunk.data.decode()
        if text and is_between:
            yield ",\n"
        is_between = text.endswith("\n") if text else is_between
        yield text.removesuffix("\n").replace("\n", ",\n")
