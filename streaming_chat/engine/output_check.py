"""Validates the object that a completed reply must be, once: every reader is told the result that is saved with the ending.

It may call a site's own validators, so it does so in a thread, and not for long.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable

from django.db import connections

from streaming_chat.logs import describe, logger
from streaming_chat.outputs import Output
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event, text_of

# How long validators may take, in seconds.
_CHECK_SECONDS = 3.0
# What a reply has until its object has been validated.
UNCHECKED = "internal"
_CODES = {"content_filter": "output_refused", "length": "output_truncated", "length_cap": "output_truncated"}


async def output_error(message_id: uuid.UUID, output: Output, ending: Ending, received: Iterable[Event]) -> str:
    """Return the code of what is wrong with the object of a reply; "" for nothing, and if the reply is not completed."""
    if ending.status != endings.COMPLETED:
        return ""
    if code := _CODES.get(ending.end_reason):
        return code
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await asyncio.to_thread(_check, output, text_of(received))
    except Exception as error:  # noqa: BLE001  (a site's own validators, or the time is over)
        logger.error("The output %s of reply %s could not be validated: %s", output.name, message_id, describe(error))
        return UNCHECKED


def _check(output: Output, text: str) -> str:
    try:
        return output.error_in(text)
    finally:
        # Validators may have opened some in this thread, where no request closes them.
        connections.close_all()
