"""What a transcript shows of a message: its parts as HTML, and the facts about a reply as labels and values.

Text is Markdown, reasoning, tool calls with their results and sources are folded, and what follows the cut is set apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.models import LiveReply, Message, ReplyEvent, ToolCall
from streaming_chat.protocol import events, tool_calls
from streaming_chat.protocol.events import Event

from .formats import milliseconds, money


@dataclass(frozen=True)
class Part:
    """A part of a message. label: "" for text. is_unformatted: see Formatted."""

    kind: str
    html: SafeString = field(repr=False)
    label: str = ""
    is_unformatted: bool = False


class PartRenderer:
    """Renders the messages of one page: text as Markdown as far as the page's budget goes, then as plain text."""

    def __init__(self) -> None:
        # Imported here, since every command imports the admin: the parser takes 2.5 MB of memory.
        from streaming_chat.rendering.markdown_html import MarkdownBudget, plain

        self._format, self._plain = MarkdownBudget().format, plain

    def render(self, message: Message) -> tuple[list[Part], list[Part]]:
        """Return the parts of a message that its owner saw, and what arrived after the cut."""
        received = _received(message)
        end = 1 + events.length(received) if message.cut_position is None else message.cut_position
        called = {payload.get("id"): payload.get("name") for kind, payload in received if kind == events.TOOL_CALL}
        seen = self._parts(message, events.before(received, end, 1), called, is_beyond_cut=False)
        beyond = self._parts(message, events.after(received, end, 1), called, is_beyond_cut=True)
        return seen, beyond

    def _parts(
        self, message: Message, shown: Iterable[Event], called: Mapping[Any, Any], *, is_beyond_cut: bool
    ) -> list[Part]:
        """called: the names of the tools, by the ids of the calls."""
        return [
            self._part(message, event, called, is_beyond_cut=is_beyond_cut)
            for event in shown
            if event.kind not in tool_calls.WITHOUT_TEXT
        ]

    def _part(self, message: Message, event: Event, called: Mapping[Any, Any], *, is_beyond_cut: bool) -> Part:
        kind, payload = event
        if kind == events.TEXT:
            # Users do not write Markdown, and the text after a cut may begin in the middle of some.
            is_markdown = message.is_reply and not is_beyond_cut
            html, is_unformatted = self._format(payload) if is_markdown else (self._plain(payload), False)
            return Part(kind, html, is_unformatted=is_unformatted)
        if kind == events.REASONING:
            return Part(kind, self._plain(payload), _reasoning_label(payload))
        if kind == events.TOOL_CALL:
            arguments = str(payload.get("arguments", ""))
            return Part(kind, self._plain(arguments), _tool_call_label(payload))
        if kind == events.TOOL_RESULT:
            return Part(kind, self._plain(_output(payload)), _tool_result_label(payload, called.get(payload.get("id"))))
        if kind == events.SOURCE:
            return Part(kind, self._source(payload), _source_label(payload))
        return Part(kind, self._plain(json.dumps(payload, indent=1, ensure_ascii=False)), kind)

    def _source(self, payload: dict[str, Any]) -> SafeString:
        """Return its address, as a link if that is safe, and its other texts."""
        url = str(payload.get("url", ""))
        link = events.link_of(payload)
        address = format_html('<a href="{}" rel="noopener noreferrer nofollow">{}</a>', link, url) if link else url
        texts = [str(payload[name]) for name in ("id", "text") if payload.get(name)]
        return format_html("<p><bdi>{}</bdi></p>{}", address, self._plain("\n".join(texts)))


def _received(message: Message) -> list[Event]:
    """Return what was received of a message: its parts, or its saved events while it is live."""
    if message.is_live:
        saved = list(ReplyEvent.objects.using(live_database()).stream(message.pk))
        if LiveReply.objects.using(live_database()).filter(pk=message.pk).exists():
            return saved
        # It ended in between, and its events are parts now.
        message.refresh_from_db()
        return message.events(whole=True)
    # Only messages from a provider have parts.
    return message.events(whole=True) or [Event(events.TEXT, message.text)] * bool(message.text)


def _reasoning_label(text: str) -> str:
    count = len(text)
    label = ngettext("Reasoning, {count} character", "Reasoning, {count} characters", count)
    return label.format(count=localize(count))


def _source_label(payload: dict[str, Any]) -> str:
    is_of_site = payload.get("origin") == "context"
    label = _("Document of this site: {title}") if is_of_site else _("Source: {title}")
    return label.format(title=payload.get("title") or payload.get("url") or payload.get("id", ""))


def _tool_call_label(payload: dict[str, Any]) -> str:
    is_complete = payload.get("complete", True)
    label = _("Tool call: {name}") if is_complete else _("Tool call that was cut off: {name}")
    return label.format(name=payload.get("name", ""))


def _output(payload: dict[str, Any]) -> str:
    output = payload.get("output", "")
    return output if isinstance(output, str) else json.dumps(output, indent=1, ensure_ascii=False)


def _tool_result_label(payload: dict[str, Any], name: str | None) -> str:
    """Return what became of a call of the site's; a result that a client has sent says nothing of that."""
    status = str(payload.get("status", ""))
    if not status:
        return _("Tool result")
    state = dict(ToolCall.State.choices).get(status, status)
    return _("Tool result of {name}: {state}").format(name=name or _("unknown tool"), state=state)


def facts_of(message: Message) -> list[tuple[str, str]]:
    """Return the known facts about a reply."""
    return [(label, value) for label, value in _all_facts(message) if value]


def _all_facts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield labels and values; "" for what is unknown."""
    yield _("Model"), message.model or message.provider
    yield _("Effort"), message.effort
    yield _("Output"), " · ".join(filter(None, [message.output_name, message.output_error]))
    yield _("Tokens"), _tokens(message)
    yield _("Cost"), "" if message.cost is None else money(message.cost)
    yield _("Time to first token"), milliseconds(message.first_event_ms)
    yield _("Reasoning"), milliseconds(message.reasoning_ms)
    yield _("Total time"), milliseconds(message.duration_ms)
    yield _("Speed"), _speed(message)
    yield _("Ending"), " / ".join(filter(None, [message.status, message.end_reason]))
    yield _("Error"), _error(message)
    yield _("Finish reason"), message.finish_reason
    yield _("Cut"), _cut(message)
    yield _("Continues"), _continued(message)
    yield _("Left out of the prompt"), _omitted(message)
    yield _("Request id"), message.request_id
    yield _("Reference"), message.ref
    yield _("Message"), str(message.pk)


def _tokens(message: Message) -> str:
    counts = (
        (_("{count} in"), message.input_tokens),
        (_("{count} of them cached"), message.cached_input_tokens),
        (_("{count} of them written to the cache"), message.cache_write_tokens),
        (_("{count} out"), message.output_tokens),
        (_("{count} of them reasoning"), message.reasoning_tokens),
    )
    known = [text.format(count=localize(count)) for text, count in counts if count is not None]
    return ", ".join([*known, _("estimated")] if known and message.tokens_estimated else known)


def _speed(message: Message) -> str:
    """Return tokens per second from the first one on; "" if unknown or too short to measure."""
    milliseconds = (message.duration_ms or 0) - (message.first_event_ms or 0)
    if not message.output_tokens or message.first_event_ms is None or milliseconds < 1:
        return ""
    return _("{count} tokens/s").format(count=localize(round(1000 * message.output_tokens / milliseconds)))


def _error(message: Message) -> str:
    code = message.error_code
    return f"{code}: {error_text(code)}" if code in ERRORS else code


def _cut(message: Message) -> str:
    if message.cut_position is None:
        return ""
    position, total = localize(message.cut_position), localize(message.position)
    return _("at position {position} of {total}").format(position=position, total=total)


def _continued(message: Message) -> str:
    if message.continues_id is None or message.continued_at is None:
        return ""
    return _("{message}, from position {position}").format(
        message=message.continues_id, position=localize(message.continued_at)
    )


def _omitted(message: Message) -> str:
    count = message.omitted_messages
    return ngettext("{count} message", "{count} messages", count).format(count=localize(count)) if count else ""
