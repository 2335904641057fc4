"""Entries in the admin's own log of what staff did to a conversation, for its History page. They contain no text."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import OperationalError
from django.http import HttpRequest

from streaming_chat.db.errors import is_busy
from streaming_chat.logs import describe, logger
from streaming_chat.models import Conversation


def log_change(request: HttpRequest, conversations: Iterable[uuid.UUID], what: str) -> None:
    """Save an entry for each of the conversations. what: a sentence, which stays in the language that it was saved in.

    On a lock timeout, the log has no entry: the change is saved, and a page that repeats the request would repeat it.
    """
    rows = [Conversation(pk=pk) for pk in conversations]
    try:
        LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, what)  # type: ignore[arg-type]  # staff are logged in
    except OperationalError as error:
        if not is_busy(error):
            raise
        logger.warning(
            "The admin's log has no entry of a change that user %s has made: %s", request.user.pk, describe(error)
        )
