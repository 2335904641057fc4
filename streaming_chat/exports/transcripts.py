"""Conversations as files: JSONL and CSV of any number, Markdown of one. Made in pieces: their number costs no memory.

jsonl: a conversation a line, with all of its messages (every branch, oldest first), their parts and their feedback.
csv: a message a row, without parts. A cell that a spreadsheet would take for a formula begins with an apostrophe.
markdown: one branch of one conversation. Every text is fenced as it was written, so that whatever shows the file renders
none of it: nothing runs, nothing is fetched.

Names of fields are those of the models, in English, whoever exports. A reply that is being written has no text yet.

Pages by key. No server-side cursors: they break behind pgbouncer in transaction mode, and a page that was read is no open
transaction while the client takes its time.
"""

from __future__ import annotations

import csv
import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import F, QuerySet

from streaming_chat.chats.tree import Tree
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Feedback, Message
from streaming_chat.protocol import events
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.text import storable_value

# Conversations of one look; of their messages are read at a time so many, and so many units of what was received.
_CONVERSATIONS = 50
_MESSAGES = 100
_UNITS = 50_000
_FIRST = uuid.UUID(int=0)

_CONVERSATION_FIELDS = (
    "id", "owner_key", "title", "system_prompt", "model", "metadata", "head_id", "last_status", "message_count",
    "input_tokens", "output_tokens", "cost", "created_at", "last_activity", "deleted_at", "erased_at",
)  # fmt: skip
# Everything but what only a request's repetition needs (send_key, body_digest).
_MESSAGE_FIELDS = (
    "id", "conversation_id", "parent_id", "role", "origin", "status", "end_reason", "error_code", "ref", "provider", "model",
    "request_id", "finish_reason", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens",
    "tokens_estimated", "cost", "first_event_ms", "reasoning_ms", "duration_ms", "omitted_messages", "created_at",
    "ended_at", "redacted_at", "position", "cut_position", "text", "parts",
)  # fmt: skip
_COLUMNS = (
    "conversation", "title", "owner", "owner_key", "message", "parent", "role", "origin", "status", "end_reason",
    "error_code", "ref", "provider", "model", "request_id", "finish_reason", "input_tokens", "cached_input_tokens",
    "output_tokens", "reasoning_tokens", "tokens_estimated", "cost", "first_event_ms", "reasoning_ms", "duration_ms",
    "omitted_messages", "created_at", "ended_at", "redacted_at", "feedback", "comments", "text",
)  # fmt: skip
# Excel, LibreOffice and Google Sheets take these for the beginning of a formula, also in their full-width and small forms; a
# tab or a line break before one is dropped, and so may be what nobody sees: blanks, controls, marks of direction and order.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(
    r"[\t\r\n]|[\s\0-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*[=+\-@＝＋－＠﹦﹢﹣﹫]"
)

Row = dict[str, Any]


class Piece(NamedTuple):
    """A part of a file. upto: the last conversation, all of which has been given with it; None in the middle of some.

    conversations, messages: how many ended in it.
    """

    data: bytes
    upto: uuid.UUID | None = None
    conversations: int = 0
    messages: int = 0


class Jsonl:
    """A conversation a line."""

    suffix, content_type = "jsonl", "application/x-ndjson; charset=utf-8"
    head = b""

    def __init__(self) -> None:
        self._is_first = True

    def begin(self, conversation: Row) -> str:
        """Return what precedes its messages."""
        self._is_first = True
        return f'{_json(conversation)[:-1]}, "messages": ['

    def message(self, conversation: Row, message: Row) -> str:
        """Return one of its messages."""
        before = "" if self._is_first else ", "
        self._is_first = False
        return before + _json(message)

    def end(self) -> str:
        """Return what follows them."""
        return "]}\n"


class Csv:
    """A message a row; a conversation without messages has none. UTF-8 with the mark that spreadsheets know it by."""

    suffix, content_type = "csv", "text/csv; charset=utf-8"

    def __init__(self) -> None:
        self._lines: list[str] = []
        # What csv asks of a file is a method `write`.
        self._rows = csv.writer(_Writable(self._lines), quoting=csv.QUOTE_ALL)
        self._rows.writerow(_COLUMNS)
        self.head = b"\xef\xbb\xbf" + self._taken().encode()

    def begin(self, conversation: Row) -> str:
        """Return nothing."""
        return ""

    def message(self, conversation: Row, message: Row) -> str:
        """Return its row."""
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
        }
        self._rows.writerow([_cell(row[name]) for name in _COLUMNS])
        return self._taken()

    def end(self) -> str:
        """Return nothing."""
        return ""

    def _taken(self) -> str:
        text = "".join(self._lines)
        self._lines.clear()
        return text


class _Writable:
    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


FORMATS: dict[str, type[Jsonl | Csv]] = {"jsonl": Jsonl, "csv": Csv}


def defused(text: str) -> str:
    """Return a cell of which no spreadsheet makes a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def export(conversations: QuerySet[Conversation], form: Jsonl | Csv, after: uuid.UUID | None = None) -> Iterator[Piece]:
    """Yield the file of these conversations in the order of their ids, which is that of their beginnings. Blocking.

    after: where an earlier export had come to; then without the head. Each conversation is as it is when it is read.
    """
    if after is None:
        yield Piece(form.head)
    for page in _pages(conversations, after or _FIRST):
        yield from _export_page(page, form)


def _pages(conversations: QuerySet[Conversation], after: uuid.UUID) -> Iterator[list[Row]]:
    name = f"owner__{get_user_model().USERNAME_FIELD}"
    rows = conversations.using(live_database()).order_by("pk").values(*_CONVERSATION_FIELDS, owner_name=F(name))
    is_full = True
    while is_full and (page := list(rows.filter(pk__gt=after)[:_CONVERSATIONS])):
        # One that is not full is the last: to look once more would never end where others begin meanwhile.
        is_full = len(page) == _CONVERSATIONS
        after = page[-1]["id"]
        for row in page:
            row["owner"] = row.pop("owner_name")
            row["head"] = row.pop("head_id")
            # What the site's own code has set may hold half a character, which no file does.
            row["metadata"] = storable_value(row["metadata"])
        yield page


def _export_page(page: list[Row], form: Jsonl | Csv) -> Iterator[Piece]:
    """Yield these conversations, so many messages in each piece as are read at once."""
    using = live_database()
    keys: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    sizes = {}
    # Who and how long first: a page of the longest replies there may be would take gigabytes.
    shapes = Message.objects.using(using).filter(conversation_id__in=[row["id"] for row in page])
    order = shapes.order_by("conversation_id", "created_at", "id")
    for conversation, message, position in order.values_list("conversation_id", "pk", "position"):
        keys[conversation].append(message)
        sizes[message] = position
    messages = _Messages([key for row in page for key in keys[row["id"]]], sizes, using)
    pieces: list[str] = []
    done = 0
    for row in page:
        pieces.append(form.begin(row))
        for key in keys[row["id"]]:
            if messages.has_to_read(key) and (text := "".join(pieces)):
                yield Piece(text.encode())
                pieces.clear()
            if (found := messages.take(key)) is not None:
                done += 1
                pieces.append(form.message(row, found))
        pieces.append(form.end())
    yield Piece("".join(pieces).encode(), page[-1]["id"], len(page), done)


class _Messages:
    """Messages by their keys, read a few at a time in the order given."""

    def __init__(self, keys: Sequence[uuid.UUID], sizes: dict[uuid.UUID, int], using: str) -> None:
        self._keys = iter(keys)
        self._next = next(self._keys, None)
        self._sizes = sizes
        self._using = using
        self._read: dict[uuid.UUID, Row] = {}
        self._upto: set[uuid.UUID] = set()

    def has_to_read(self, key: uuid.UUID) -> bool:
        """Whether `take` will ask the database."""
        return key not in self._upto

    def take(self, key: uuid.UUID) -> Row | None:
        """Return a message, once; None when it was deleted meanwhile."""
        if self.has_to_read(key):
            self._read_more()
        return self._read.pop(key, None)

    def _read_more(self) -> None:
        batch: list[uuid.UUID] = []
        units = 0
        while self._next is not None and len(batch) < _MESSAGES and (units < _UNITS or not batch):
            batch.append(self._next)
            units += self._sizes[self._next]
            self._next = next(self._keys, None)
        self._upto = set(batch)
        self._read = {row["id"]: row for row in read(batch, self._using)}


def read(keys: Sequence[uuid.UUID], using: str) -> Iterator[Row]:
    """Yield these messages with their feedback, in any order; two queries."""
    name = f"by__{get_user_model().USERNAME_FIELD}"
    feedback = defaultdict(list)
    judged = Feedback.objects.using(using).filter(message_id__in=keys).order_by("created_at", "pk")
    for message, by, value, comment, at in judged.values_list("message_id", name, "value", "comment", "created_at"):
        feedback[message].append({"by": by, "value": value, "comment": comment, "created_at": at})
    for row in Message.objects.using(using).filter(pk__in=keys).order_by().values(*_MESSAGE_FIELDS):
        row["conversation"] = row.pop("conversation_id")
        row["parent"] = row.pop("parent_id")
        row["feedback"] = feedback.get(row["id"], [])
        yield row


def _json(value: Row) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        # Not a float: a sum of costs must come out.
        return f"{value:f}"
    return str(value)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str):
        return defused(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int) else _plain(value)


def markdown(conversation: uuid.UUID, through: uuid.UUID | None = None) -> Iterator[Piece]:
    """Yield one conversation's branch in view, or the one through a message, as Markdown; nothing when there is none.

    Blocking.
    """
    using = live_database()
    found: list[Row] = next(_pages(Conversation.objects.using(using).filter(pk=conversation), _FIRST), [])
    for row in found:
        yield Piece(_heading(row).encode())
        shapes = Message.objects.using(using).filter(conversation_id=conversation).order_by("created_at", "id")
        links = list(shapes.values_list("pk", "parent_id", "position"))
        sizes = {key: position for key, _parent, position in links}
        path = _branch(Tree((key, parent) for key, parent, _position in links), through, row["head"])
        messages = _Messages(path, sizes, using)
        done = 0
        for key in path:
            if (message := messages.take(key)) is not None:
                done += 1
                yield Piece(_section(message).encode())
        yield Piece(b"", conversation, 1, done)


def _branch(tree: Tree, through: uuid.UUID | None, head: uuid.UUID | None) -> list[uuid.UUID]:
    """Return the branch through a message, or else the one that ends at the head."""
    if through is not None and through in tree:
        return tree.path_through(through)
    return tree.path_to(head if head in tree else tree.newest())


def _heading(row: Row) -> str:
    facts = {
        "Title": row["title"],
        "Owner": row["owner"] or row["owner_key"],
        "Began": _plain(row["created_at"]),
        "Last active": _plain(row["last_activity"]),
        "Model": row["model"],
    }
    lines = [f"# Conversation {row['id']}", "", *_list(facts)]
    for label, text in (
        ("System prompt", row["system_prompt"]),
        ("Metadata", row["metadata"] and _json(row["metadata"])),
    ):
        if text:
            lines += ["", f"{label}:", "", _fenced(text)]
    return "\n".join(lines) + "\n"


def _section(row: Row) -> str:
    facts = {"Ending": " / ".join(filter(None, [row["status"], row["end_reason"], row["error_code"]]))}
    if row["role"] == Message.Role.ASSISTANT:
        facts |= {"Model": row["model"], "Request id": row["request_id"], "Reference": row["ref"]}
        facts |= {"Tokens in": _figure(row["input_tokens"]), "Tokens out": _figure(row["output_tokens"])}
    else:
        facts = {}
    lines = [
        "",
        f"## {row['role'].capitalize()}, {_plain(row['created_at'])}",
        "",
        *_list({"Message": row["id"], **facts}),
    ]
    for label, text in _blocks(row):
        lines += ["", *([f"{label}:", ""] if label else []), _fenced(text)]
    for one in row["feedback"]:
        lines += ["", f"Rated {'good' if one['value'] > 0 else 'bad'}:", "", _fenced(one["comment"])]
    return "\n".join(lines) + "\n"


def _figure(count: int | None) -> str:
    return "" if count is None else str(count)


def _blocks(row: Row) -> Iterator[tuple[str, str]]:
    """Yield what was received, labelled, with what its owner did not see last."""
    received = list(events.from_parts(row["parts"]))
    if not received:
        if row["text"]:
            yield "", row["text"]
        return
    end = 1 + events.length(received) if row["cut_position"] is None else row["cut_position"]
    for event in events.before(received, end, 1):
        yield _block(event)
    for event in events.after(received, end, 1):
        label, text = _block(event)
        yield f"{label or 'Text'} beyond the cut, which its owner did not see", text


def _block(event: Event) -> tuple[str, str]:
    if event.kind == events.TEXT:
        return "", event.payload
    if event.kind == events.REASONING:
        return "Reasoning", event.payload
    return ("Tool call" if event.kind == events.TOOL_CALL else "Part"), _json({"kind": event.kind, **event.payload})


def _list(facts: dict[str, Any]) -> list[str]:
    return [f"- {label}: {_code(str(value))}" for label, value in facts.items() if value]


def _code(text: str) -> str:
    """Return a code span, in which nothing is Markdown or HTML."""
    text = " ".join(text.split())
    ticks = "`" * (_longest(text) + 1)
    return f"{ticks} {text} {ticks}" if text.startswith("`") or text.endswith("`") else f"{ticks}{text}{ticks}"


def _fenced(text: str) -> str:
    """Return a fenced block, which ends where the text does: no run of backticks in it is as long as its fence."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
