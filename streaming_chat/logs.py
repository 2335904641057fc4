"""What the log says: of an error its class and where it was raised, never its message; of other text one short line.

A database quotes the value it refused and an SDK the body it received, so a message may hold what people wrote. A provider
chooses its ids and its words for errors, so they may hold line breaks and terminal sequences, which would forge log lines.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping
from typing import Any

# The most characters of one argument of a log line.
_MAX_ARGUMENT = 300
# C0 and C1 controls, line and paragraph separators, marks without a width, marks of direction, tags, lone surrogates.
_CONTROLS = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


class Description(str):
    """Lines of our own, which are logged as they are."""

    __slots__ = ()


def one_line(value: Any) -> Any:
    """Return an argument of a log line as text without control characters, cut to 300 characters; a number as it is."""
    if value is None or isinstance(value, int | float | Description):
        return value
    text = str(value)
    return without_controls(text if len(text) <= _MAX_ARGUMENT else f"{text[:_MAX_ARGUMENT]}…")


def without_controls(text: str) -> str:
    """Return a text in one line, which no terminal takes for a command."""
    return _CONTROLS.sub(_escaped, text)


def _escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode("ascii")


class OneLine(logging.Filter):
    """Makes each record of a logger one line, whatever its arguments contain."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(one_line, record.args))
        elif isinstance(record.args, Mapping):
            record.args = {name: one_line(value) for name, value in record.args.items()}
        return True


logger = logging.getLogger("streaming_chat")
logger.addFilter(OneLine())


def describe(error: BaseException) -> Description:
    """Return the classes of an error and of what it comes from, and the frames of the first, for a log line."""
    classes: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(classes) < 5:
        classes.append(type(cause).__qualname__)
        cause = cause.__cause__ or cause.__context__
    return Description(" < ".join(classes) + "\n" + "".join(traceback.format_tb(error.__traceback__)))
