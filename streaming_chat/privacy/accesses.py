"""Access records: who of the staff read what, saved before any text is sent."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import router

from streaming_chat.models import AccessRecord


def record(
    kind: str,
    by: Any,
    *,
    conversation: uuid.UUID | None = None,
    message: uuid.UUID | None = None,
    owner_key: str = "",
    terms: str = "",
    count: int | None = None,
) -> AccessRecord:
    """Save that somebody reads, on the database that is written to; it is committed unless the caller's transaction is open.

    kind: of AccessRecord.Kind. by: the user, or the name of the account that a command runs under.
    Raises DatabaseError when it cannot be saved: then nothing may be shown.
    """
    named = {"by_name": by} if isinstance(by, str) else {"by": by, "by_name": str(by.get_username())[:255]}
    return AccessRecord._default_manager.using(router.db_for_write(AccessRecord)).create(
        kind=kind,
        conversation=conversation,
        message=message,
        owner_key=owner_key,
        terms=terms,
        count=count,
        **named,
    )
