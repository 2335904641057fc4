"""What the log says of an error: its class and where it was raised, never its message.

A database quotes the value it refused and an SDK the body it received, so a message may hold what people wrote.
"""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("streaming_chat")


def describe(error: BaseException) -> str:
    """Return the classes of an error and of what it comes from, and the frames of the first, for a log line."""
    classes: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(classes) < 5:
        classes.append(type(cause).__qualname__)
        cause = cause.__cause__ or cause.__context__
    return " < ".join(classes) + "\n" + "".join(traceback.format_tb(error.__traceback__))
