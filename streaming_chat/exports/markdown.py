"""One branch of a conversation as Markdown, for staff. Every text is in a fenced block as it was written: nothing in it is
rendered, run or fetched by whatever shows the file. owner_files.py makes the file that owners get.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from streaming_chat.chats.tree import Tree
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import events
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.tool_calls import WITHOUT_TEXT

from .calls import described
from .reviews import Reviews, describe, reviewer_of
from .rows import MessageReader, Row, conversation_pages, size_of, to_json, to_text
from .transcripts import ExportChunk

_LABELS = {events.TOOL_CALL: "Tool call", events.TOOL_RESULT: "Tool result", events.SOURCE: "Source"}


def export_markdown(
    conversation: uuid.UUID, through: uuid.UUID | None = None, *, has_reviews: bool = False
) -> Iterator[ExportChunk]:
    """Yield the branch in view of a conversation, or the one through a message; nothing if it does not exist. Blocking.

    has_reviews: with what reviewers recorded.
    """
    using = live_database()
    found: list[Row] = next(conversation_pages(Conversation.objects.using(using).filter(pk=conversation)), [])
    reviews = Reviews([conversation], using) if has_reviews else None
    for row in found:
        if reviews is not None:
            reviews.add_to_conversation(row)
        yield ExportChunk(_heading(row).encode())
        messages = Message.objects.using(using).filter(conversation_id=conversation).order_by("created_at", "id")
        columns = list(messages.values_list("pk", "parent_id", "position", "has_more_than_text"))
        branch = _branch(Tree((pk, parent) for pk, parent, *_rest in columns), through, row["head"])
        sizes = {pk: size_of(position, has_more_than_text=more) for pk, _parent, position, more in columns}
        reader = MessageReader(branch, sizes, using)
        count = 0
        for pk in branch:
            if (message := reader.take(pk)) is not None:
                count += 1
                if reviews is not None:
                    reviews.add_to_message(message)
                yield ExportChunk(_section(message).encode())
        yield ExportChunk(b"", conversation, 1, count)


def _branch(tree: Tree, through: uuid.UUID | None, head: uuid.UUID | None) -> list[uuid.UUID]:
    """Return the messages from the root through a message to a leaf, or to the head."""
    if through is not None and through in tree:
        return tree.path_through(through)
    return tree.path_to(head if head in tree else tree.newest())


def _heading(row: Row) -> str:
    facts = {
        "Title": row["title"],
        "Owner": row["owner"] or row["owner_key"],
        "Started": to_text(row["created_at"]),
        "Last active": to_text(row["last_activity"]),
        "Model": row["model"],
        **_review_facts(row),
    }
    lines = [f"# Conversation {row['id']}", "", *fact_list(facts)]
    metadata = row["metadata"] and to_json(row["metadata"])
    notes = row.get("review", {}).get("notes")
    for label, text in (("System prompt", row["system_prompt"]), ("Metadata", metadata), ("Notes", notes)):
        if text:
            lines += ["", f"{label}:", "", fenced(text)]
    return "\n".join(lines) + "\n"


def _review_facts(row: Row) -> dict[str, str]:
    """Return the facts of the review, if the export has reviews."""
    review = row.get("review", {})
    return {
        "Review": review.get("state", ""),
        "Reviewed by": review.get("done_by") or "",
        "Reviewed": to_text(review["done_at"]) if review.get("done_at") else "",
        "Verdicts": "; ".join(map(describe, row.get("verdicts", []))),
    }


def _section(row: Row) -> str:
    facts = {
        "Message": row["id"],
        **(_reply_facts(row) if row["role"] == Message.Role.ASSISTANT else {}),
        "Verdicts": "; ".join(map(describe, row.get("verdicts", []))),
    }
    lines = ["", f"## {row['role'].capitalize()}, {to_text(row['created_at'])}", "", *fact_list(facts)]
    for label, text in _texts(row):
        lines += ["", *([f"{label}:", ""] if label else []), fenced(text)]
    for verdict in row.get("verdicts", []):
        if verdict["correction"]:
            lines += ["", f"Corrected by {_code_span(reviewer_of(verdict))}:", "", fenced(verdict["correction"])]
    for feedback in row["feedback"]:
        lines += ["", f"Rated {'good' if feedback['value'] > 0 else 'bad'}:", "", fenced(feedback["comment"])]
    return "\n".join(lines) + "\n"


def _reply_facts(row: Row) -> dict[str, Any]:
    return {
        "Ending": " / ".join(filter(None, [row["status"], row["end_reason"], row["error_code"]])),
        "Model": row["model"],
        "Request id": row["request_id"],
        "Reference": row["ref"],
        "Tokens in": _count(row["input_tokens"]),
        "Tokens out": _count(row["output_tokens"]),
        **{f"Tool call {number}": described(call) for number, call in enumerate(row["tool_calls"], 1)},
    }


def _count(count: int | None) -> str:
    return "" if count is None else str(count)


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    """Yield what was received, with labels; what the owner did not see comes last."""
    received = list(events.from_parts(row["parts"]))
    if not received:
        if row["text"]:
            yield "", row["text"]
        return
    end = 1 + events.length(received) if row["cut_position"] is None else row["cut_position"]
    for event in with_text(events.before(received, end, 1)):
        yield labelled(event)
    for event in with_text(events.after(received, end, 1)):
        label, text = labelled(event)
        yield f"{label or 'Text'} beyond the cut, which its owner did not see", text


def with_text(received: Iterable[Event]) -> Iterator[Event]:
    """Yield the events that say something in a file."""
    return (event for event in received if event.kind not in WITHOUT_TEXT)


def labelled(event: Event) -> tuple[str, str]:
    """Return a label, "" for text, and what the event adds to a message."""
    if event.kind == events.TEXT:
        return "", event.payload
    if event.kind == events.REASONING:
        return "Reasoning", event.payload
    return _LABELS.get(event.kind, "Part"), to_json({"kind": event.kind, **event.payload})


def fact_list(facts: dict[str, Any]) -> list[str]:
    """Return the lines of a list with the facts that are not empty."""
    return [f"- {label}: {_code_span(str(value))}" for label, value in facts.items() if value]


def _code_span(text: str) -> str:
    """Return a code span, in which nothing is Markdown or HTML."""
    text = " ".join(text.split())
    ticks = "`" * (_longest_run(text) + 1)
    return f"{ticks} {text} {ticks}" if text.startswith("`") or text.endswith("`") else f"{ticks}{text}{ticks}"


def fenced(text: str) -> str:
    """Return a fenced block. Its fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
