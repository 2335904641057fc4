"""What is known about a reply besides its text, as labels and values."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.formats import localize
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.models import Message

from .formats import money


def facts_of(message: Message) -> list[tuple[str, str]]:
    """Return the known facts about a reply."""
    return [(label, value) for label, value in _all_facts(message) if value]


def _all_facts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield labels and values; "" for what is unknown."""
    yield _("Model"), message.model or message.provider
    yield _("Tokens"), _tokens(message)
    yield _("Cost"), "" if message.cost is None else money(message.cost)
    yield _("Time to first token"), _milliseconds(message.first_event_ms)
    yield _("Reasoning"), _milliseconds(message.reasoning_ms)
    yield _("Total time"), _milliseconds(message.duration_ms)
    yield _("Speed"), _speed(message)
    yield _("Ending"), " / ".join(filter(None, [message.status, message.end_reason]))
    yield _("Error"), _error(message)
    yield _("Finish reason"), message.finish_reason
    yield _("Cut"), _cut(message)
    yield _("Left out of the prompt"), _omitted(message)
    yield _("Request id"), message.request_id
    yield _("Reference"), message.ref
    yield _("Message"), str(message.pk)


def _tokens(message: Message) -> str:
    counts = (
        (_("{count} in"), message.input_tokens),
        (_("{count} of them cached"), message.cached_input_tokens),
        (_("{count} out"), message.output_tokens),
        (_("{count} of them reasoning"), message.reasoning_tokens),
    )
    known = [text.format(count=localize(count)) for text, count in counts if count is not None]
    return ", ".join([*known, _("estimated")] if known and message.tokens_estimated else known)


def _milliseconds(count: int | None) -> str:
    return "" if count is None else _("{count} ms").format(count=localize(count))


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


def _omitted(message: Message) -> str:
    count = message.omitted_messages
    return ngettext("{count} message", "{count} messages", count).format(count=localize(count)) if count else ""
