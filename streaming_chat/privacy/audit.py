"""Access records: which member of staff read or changed what, saved before any text is sent."""

from __future__ import annotations

import getpass
import os
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
    """Save an access record in the database for writes. It is committed unless the caller has opened a transaction.

    kind: of AccessRecord.Kind. by: the user, or for a command `account_name()`.
    Raises DatabaseError if it cannot be saved; the caller must show nothing then.
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


def account_name() -> str:
    """Return the name of the operating system's account that this process runs under."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container, the user may have no entry in /etc/passwd.
        return f"uid {os.getuid()}"
