"""The messages of a conversation as the plain page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from streaming_chat.engine import lookup
from streaming_chat.models import Message
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.events import Event
from streaming_chat.providers.model_options import label_of
from streaming_chat.rendering.ending_sentences import describe_to_owner
from streaming_chat.rendering.markdown_html import MarkdownBudget, plain

from .api.serializers import received_events
from .plain_calls import Call, ReplyCalls


@dataclass(frozen=True, repr=False)
class Part:
    """A piece of a message. label: its kind in words, "" for text. is_unformatted: see Formatted. call: of a tool call."""

    html: SafeString
    label: str = ""
    is_unformatted: bool = False
    call: Call | None = None


class Source(NamedTuple):
    """What a reply cites. address: "" for one that the page must not link to. text: a short quotation, or ""."""

    title: str
    address: str
    text: str


@dataclass(frozen=True, repr=False)
class Turn:
    """A message as the page shows it. outcome: how a reply ended, in words; "" for a reply that is complete."""

    message: Message
    parts: list[Part]
    sources: list[Source]
    outcome: str

    @property
    def model_label(self) -> str:
        """The name of the reply's model."""
        return label_of(self.message.model) if self.message.model else ""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for answers to tool calls."""
        return self.message.status == endings.WAITING

    @property
    def is_unformatted(self) -> bool:
        """Whether some of its text is plain, because the messages before it have used the page's budget."""
        return any(part.is_unformatted for part in self.parts)

    @property
    def has_failed(self) -> bool:
        """Whether there is no answer, or not all of it, and nothing to continue."""
        message = self.message
        is_bad = message.status in endings.EARLY or message.end_reason == "content_filter"
        return message.is_reply and is_bad and not message.can_continue


def turns_of(messages: list[Message], first: str = "", *, is_shared: bool = False) -> list[Turn]:
    """Return messages as the page shows them.

    is_shared: to others than the owner, who see no results of tools. first: the id of the message that is formatted before
    the others, which follow from the newest on, as far as the page's budget goes.
    """
    budget = MarkdownBudget()
    newest_first = reversed(messages)
    in_turn = sorted(newest_first, key=lambda message: str(message.pk) != first)
    turns = {message.pk: _turn(message, budget, is_shared=is_shared) for message in in_turn}
    return [turns[message.pk] for message in messages]


def _turn(message: Message, budget: MarkdownBudget, *, is_shared: bool) -> Turn:
    received = _received(message)
    calls = ReplyCalls(message, received, is_shared=is_shared)
    # Users do not write Markdown.
    parts = _parts(received, budget if message.is_reply else None, calls)
    sources = [_source(payload) for payload in events.distinct_sources(received)]
    return Turn(message, list(parts), sources, describe_to_owner(message))


def _source(payload: dict[str, Any]) -> Source:
    title = next((str(payload[name]) for name in ("title", "url", "id") if payload.get(name)), "")
    return Source(title, events.link_of(payload), str(payload.get("text", "")))


def _received(message: Message) -> list[Event]:
    if message.is_live:
        # A page that reloads itself is a reader.
        lookup.mark_followed([message.pk])
    return received_events(message)


def _parts(received: Iterable[Event], budget: MarkdownBudget | None, calls: ReplyCalls) -> Iterator[Part]:
    """Yield the parts of a message. budget: None for text that is not Markdown."""
    for kind, payload in events.merge(received):
        if kind == events.TEXT:
            html, is_unformatted = budget.format(payload) if budget else (plain(payload), False)
            yield Part(html, is_unformatted=is_unformatted)
        elif kind == events.REASONING:
            yield Part(plain(payload), _("Reasoning"))
        elif kind == events.TOOL_CALL:
            call = calls.describe(payload)
            yield Part(plain(call.arguments), _("Tool call: {name}").format(name=call.name), call=call)
