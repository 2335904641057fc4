"""The messages of a conversation as the plain page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from streaming_chat.engine import lookup
from streaming_chat.models import Message
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.events import Event
from streaming_chat.rendering.ending_sentences import describe_to_owner
from streaming_chat.rendering.markdown_html import markdown, plain

from .api.serializers import live_events

# Ordinary Markdown of this size takes 0.3 s to render, the slowest that was found 2 s; the rest of a page is plain.
_MAX_MARKDOWN_CHARS = 200_000


@dataclass(frozen=True, repr=False)
class Part:
    """A piece of a message. label: its kind in words, "" for text."""

    html: SafeString
    label: str = ""


@dataclass(frozen=True, repr=False)
class Turn:
    """A message as the page shows it. outcome: how a reply ended, in words; "" for a reply that is complete."""

    message: Message
    parts: list[Part]
    outcome: str

    @property
    def has_failed(self) -> bool:
        """Whether there is no answer, or not all of it, and nothing to continue."""
        message = self.message
        is_bad = message.status in endings.EARLY or message.end_reason == "content_filter"
        return message.is_reply and is_bad and not message.can_continue


def turns_of(messages: Iterable[Message]) -> list[Turn]:
    """Return messages as the page shows them."""
    markdown_chars = _MAX_MARKDOWN_CHARS
    turns = []
    for message in messages:
        is_markdown = message.is_reply and markdown_chars > 0
        turns.append(Turn(message, list(_parts(_received(message), is_markdown)), describe_to_owner(message)))
        markdown_chars -= len(message.text)
    return turns


def _received(message: Message) -> list[Event]:
    if message.is_live:
        # A page that reloads itself is a reader.
        lookup.mark_followed([message.pk])
        return live_events(message)
    return message.events() or [Event(events.TEXT, message.text)] * bool(message.text)


def _parts(received: Iterable[Event], is_markdown: bool) -> Iterator[Part]:
    for kind, payload in events.merge(received):
        if kind == events.TEXT:
            yield Part(markdown(payload) if is_markdown else plain(payload))
        elif kind == events.REASONING:
            yield Part(plain(payload), _("Reasoning"))
        elif kind == events.TOOL_CALL:
            label = _("Tool call: {name}").format(name=payload.get("name", ""))
            yield Part(plain(str(payload.get("arguments", ""))), label)
