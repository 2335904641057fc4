"""A branch of a conversation as its owner sees it, in files that owners download.

md: every text is in a fenced block, as in markdown.py: a reply may contain HTML, and images that report who reads it.
openai: `{"messages": [{"role", "content"}, …]}`, which OpenAI's API and many programs read.

Neither has the system prompt, nor what was received beyond the position at which the owner stopped a reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.utils.text import slugify

from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import events
from streaming_chat.protocol.endings import COMPLETED
from streaming_chat.protocol.events import Event

from .markdown import fact_list, fenced, labelled, with_text
from .rows import to_json, to_text

# A file name has at most 255 bytes, and a letter up to 4.
_NAME_LETTERS = 40

# A message, with its events as the owner sees them.
Turn = tuple[Message, list[Event]]


def file_stem(conversation: Conversation) -> str:
    """Return the name of a conversation's file without its suffix: letters, digits, - and _ alone, unique for an owner."""
    title = slugify(conversation.title, allow_unicode=True)[:_NAME_LETTERS].strip("-_")
    return "-".join(filter(None, [f"{conversation.created_at:%Y-%m-%d}", title, conversation.pk.hex[-12:]]))


def encoded(pieces: Iterable[str]) -> Iterator[bytes]:
    """Yield pieces in UTF-8. Half a character, which the site's own code may have set, is an escape as JSON has it."""
    return (piece.encode(errors="backslashreplace") for piece in pieces)


def markdown_file(conversation: Conversation, turns: Iterable[Turn]) -> Iterator[str]:
    """Yield the pieces of the Markdown file."""
    facts = {
        "Title": conversation.title,
        "Started": to_text(conversation.created_at),
        "Last active": to_text(conversation.last_activity),
    }
    yield "\n".join([f"# Conversation {conversation.pk}", "", *fact_list(facts)]) + "\n"
    for message, received in turns:
        yield _section(message, received)


def openai_file(conversation: Conversation, turns: Iterable[Turn]) -> Iterator[str]:
    """Yield the pieces of a JSON object. Messages without text are left out, since the API refuses them."""
    yield '{"messages": ['
    separator = "\n"
    for message, received in turns:
        if text := events.text_of(received):
            yield separator + to_json({"role": message.role, "content": text})
            separator = ",\n"
    yield "\n]}\n"


def _section(message: Message, received: list[Event]) -> str:
    lines = ["", f"## {message.role.capitalize()}, {to_text(message.created_at)}", "", *fact_list(_facts(message))]
    for event in events.merge(with_text(received)):
        label, text = labelled(event)
        lines += ["", *([f"{label}:", ""] if label else []), fenced(text)]
    return "\n".join(lines) + "\n"


def _facts(message: Message) -> dict[str, str]:
    if not message.is_reply:
        return {}
    ending = "" if message.status == COMPLETED else " / ".join(filter(None, [message.status, message.end_reason]))
    return {"Model": message.model, "Ending": ending}
