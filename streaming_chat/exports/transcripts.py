"""Exports of any number of conversations, in chunks. markdown.py exports one branch as Markdown.

jsonl: a conversation per line, with all its messages (every branch, oldest first), their parts, feedback and tool calls.
csv: a message per row, without parts. Each tool call is a line of JSON in its cell. A cell that a spreadsheet would take
for a formula begins with an apostrophe.

Both have what reviewers recorded only if `has_reviews` is true.
"""

from __future__ import annotations

import csv
import io
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message

from .calls import without_staff
from .reviews import Reviews, newest_correction, reviewer_of
from .rows import MessageReader, Row, conversation_pages, size_of, to_json, to_text

_COLUMNS = (
    "conversation", "title", "owner", "owner_key", "message", "parent", "continues", "role", "origin", "status",
    "end_reason", "error_code", "ref", "provider", "model", "effort", "output_name", "output_error", "request_id",
    "finish_reason", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "tokens_estimated", "cost", "first_event_ms", "reasoning_ms", "duration_ms", "omitted_messages", "created_at",
    "ended_at", "redacted_at", "feedback", "comments", "text", "tool_calls",
)  # fmt: skip
_REVIEW_COLUMNS = (
    "review_state", "reviewed_by", "reviewed_at", "notes", "conversation_verdicts", "conversation_labels",
    "conversation_verdicts_by", "verdicts", "labels", "verdicts_by", "correction", "corrected_by",
)  # fmt: skip
# Excel, LibreOffice and Google Sheets take these for the beginning of a formula, also in their full-width and small forms.
# They drop a tab or a line break before one, and may drop what is invisible: blanks, controls, the code points that Unicode
# calls default ignorable, and the blank of Braille.
# https://owasp.org/www-community/attacks/CSV_Injection
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
_INVISIBLE = (
    r"\s\0-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_FORMULA = re.compile(rf"[\t\r\n]|[{_INVISIBLE}]*[=+\-@＝＋－＠﹦﹢﹣﹫]")


class ExportChunk(NamedTuple):
    """Bytes of a file. through: the last conversation that is complete with them; None in the middle of a page.

    conversations, messages: how many are complete with this chunk.
    """

    data: bytes
    through: uuid.UUID | None = None
    conversations: int = 0
    messages: int = 0


class Jsonl:
    """A conversation per line. is_for_owner: without the names of staff who have allowed tool calls."""

    suffix, content_type = "jsonl", "application/x-ndjson; charset=utf-8"
    head = b""

    def __init__(self, *, has_reviews: bool = False, is_for_owner: bool = False) -> None:
        self.has_reviews = has_reviews
        self._is_for_owner = is_for_owner
        self._is_first = True

    def begin(self, conversation: Row) -> str:
        """Return what precedes the messages of a conversation."""
        self._is_first = True
        return f'{to_json(conversation)[:-1]}, "messages": ['

    def message(self, conversation: Row, message: Row) -> str:
        """Return a message."""
        separator = "" if self._is_first else ", "
        self._is_first = False
        if self._is_for_owner:
            calls = without_staff(message["tool_calls"], conversation["owner"])
            message = {**message, "tool_calls": calls}
        return separator + to_json(message)

    def end(self) -> str:
        """Return what follows the messages of a conversation."""
        return "]}\n"


class Csv:
    """A message per row; a conversation without messages has none. UTF-8 with a byte order mark, for spreadsheets."""

    suffix, content_type = "csv", "text/csv; charset=utf-8"

    def __init__(self, *, has_reviews: bool = False) -> None:
        self.has_reviews = has_reviews
        self._columns = _COLUMNS + (_REVIEW_COLUMNS if has_reviews else ())
        self._file = io.StringIO(newline="")
        self._rows = csv.writer(self._file, quoting=csv.QUOTE_ALL)
        self._rows.writerow(self._columns)
        self.head = b"\xef\xbb\xbf" + self._take_lines().encode()

    def begin(self, conversation: Row) -> str:
        """Return nothing."""
        return ""

    def message(self, conversation: Row, message: Row) -> str:
        """Return the row of a message."""
        feedback = message["feedback"]
        row = {
            **message,
            "conversation": conversation["id"],
            "message": message["id"],
            "title": conversation["title"],
            "owner": conversation["owner"],
            "owner_key": conversation["owner_key"],
            "feedback": " ".join("good" if one["value"] > 0 else "bad" for one in feedback),
            "comments": "\n".join(one["comment"] for one in feedback if one["comment"]),
            "tool_calls": "\n".join(map(to_json, message["tool_calls"])),
            **(_review_cells(conversation, message) if self.has_reviews else {}),
        }
        self._rows.writerow([_cell(row[name]) for name in self._columns])
        return self._take_lines()

    def end(self) -> str:
        """Return nothing."""
        return ""

    def _take_lines(self) -> str:
        text = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return text


Format = Jsonl | Csv
FORMATS: dict[str, type[Format]] = {"jsonl": Jsonl, "csv": Csv}


def _review_cells(conversation: Row, message: Row) -> Row:
    review = conversation["review"]
    corrected = newest_correction(message["verdicts"])
    return {
        "review_state": review.get("state"),
        "reviewed_by": review.get("done_by"),
        "reviewed_at": review.get("done_at"),
        "notes": review.get("notes"),
        **_verdict_cells(conversation["verdicts"], "conversation_"),
        **_verdict_cells(message["verdicts"]),
        "correction": corrected and corrected["correction"],
        "corrected_by": corrected and reviewer_of(corrected),
    }


def _verdict_cells(verdicts: list[Row], prefix: str = "") -> Row:
    """Return three cells, in each of which a reviewer has a line. None is empty: a cell must not begin with a line break."""
    return {
        f"{prefix}verdicts": "\n".join(one["value"] or "none" for one in verdicts),
        f"{prefix}labels": "\n".join(", ".join(one["labels"]) or "none" for one in verdicts),
        f"{prefix}verdicts_by": "\n".join(map(reviewer_of, verdicts)),
    }


def escape_formula(text: str) -> str:
    """Return the text of a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str):
        return escape_formula(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int) else to_text(value)


def export(
    conversations: QuerySet[Conversation], format: Format, after: uuid.UUID | None = None
) -> Iterator[ExportChunk]:
    """Yield the file of conversations in the order of their ids. Each is as it is when it is read. Blocking.

    after: `through` of an interrupted export, which this continues; the file's head is left out then.
    """
    if after is None:
        yield ExportChunk(format.head)
    for page in conversation_pages(conversations, after):
        yield from _export_page(page, format)


def _export_page(page: list[Row], format: Format) -> Iterator[ExportChunk]:
    """Yield a page of conversations, a group of messages per chunk."""
    ids, reader = _messages_of(page)
    reviews = Reviews([row["id"] for row in page], live_database()) if format.has_reviews else None
    pieces: list[str] = []
    messages = 0
    for row in page:
        if reviews is not None:
            reviews.add_to_conversation(row)
        pieces.append(format.begin(row))
        for pk in ids[row["id"]]:
            if reader.has_to_read(pk) and (text := "".join(pieces)):
                yield ExportChunk(text.encode())
                pieces.clear()
            if (message := reader.take(pk)) is not None:
                messages += 1
                if reviews is not None:
                    reviews.add_to_message(message)
                pieces.append(format.message(row, message))
        pieces.append(format.end())
    yield ExportChunk("".join(pieces).encode(), page[-1]["id"], len(page), messages)


def _messages_of(page: list[Row]) -> tuple[dict[uuid.UUID, list[uuid.UUID]], MessageReader]:
    """Return the ids of the messages by conversation, oldest first, and a reader for them in this order."""
    using = live_database()
    rows = Message.objects.using(using).filter(conversation_id__in=[row["id"] for row in page])
    columns = ("conversation_id", "pk", "position", "has_more_than_text")
    ids: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    sizes = {}
    for conversation, pk, position, has_more in rows.order_by("conversation_id", "created_at", "id").values_list(
        *columns
    ):
        ids[conversation].append(pk)
        sizes[pk] = size_of(position, has_more_than_text=has_more)
    in_order = [pk for row in page for pk in ids[row["id"]]]
    return ids, MessageReader(in_order, sizes, using)
