"""A conversation as staff read it: who, when and how it ended, then one branch, message by message.

The number of queries is the same for any length. Without the permission to read, no text is loaded.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.utils.formats import localize
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.chats.tree import Siblings, Tree
from streaming_chat.db.alias import live_database
from streaming_chat.engine.recovery import recover_abandoned
from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.models import Conversation, Feedback, LiveReply, Message, ReplyEvent, Status
from streaming_chat.protocol import events
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.text import storable_value
from streaming_chat.rendering.outcomes import in_words

from .formats import money

# Messages. 50 are painted in 0.35 s, on a busy machine in 0.7, where 100 took 1.1 (benchmarks/paint.py).
PAGE_SIZE = 50
# A pause that a reader of the page should know of.
_GAP = timedelta(minutes=10)
# Ordinary Markdown of this size takes 0.3 s to render, the slowest that was found 2 s; the rest of a page is plain.
MAX_MARKDOWN_CHARS = 200_000


def owner_name(conversation: Conversation) -> str:
    """Return whose a conversation is, by what the owner signs in with."""
    if conversation.owner is not None:
        return str(conversation.owner.get_username())
    return _("erased") if conversation.erased_at else _("visitor")


@dataclass(frozen=True)
class Block:
    """A piece of a message. label: what it is, "" for what was said. beyond: after the cut, so its owner never saw it."""

    kind: str
    html: SafeString = field(repr=False)
    label: str = ""
    beyond: bool = False


@dataclass(frozen=True)
class Bubble:
    """A message with what is shown of it. gap: how long nothing was said before it, in words; "" for a moment."""

    message: Message
    siblings: Siblings
    blocks: list[Block] = field(repr=False)
    gap: str = ""

    @property
    def outcome(self) -> str:
        """How the reply ended, in words."""
        return in_words(self.message)

    @property
    def is_ordinary(self) -> bool:
        """Whether it ended as most replies do, so that nothing needs to be said."""
        return (self.message.status, self.message.end_reason) == (Status.COMPLETED, "stop")

    @property
    def shown(self) -> list[Block]:
        """What its owner saw."""
        return [block for block in self.blocks if not block.beyond]

    @property
    def beyond(self) -> list[Block]:
        """What arrived, but was cut."""
        return [block for block in self.blocks if block.beyond]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is known about a reply, as labels and values."""
        return [(label, value) for label, value in _facts(self.message) if value]

    @property
    def feedback(self) -> list[Feedback]:
        """What people thought of it."""
        return list(self.message.feedback.all())


class Formatter:
    """Renders the texts of one page, as Markdown until that has cost enough."""

    def __init__(self, max_chars: int = MAX_MARKDOWN_CHARS) -> None:
        # Not with the admin, which every command loads: the parser is 2.5 of the 62 MB that an export took at its peak.
        from streaming_chat.rendering.markdown import markdown, plain

        self._left = max_chars
        self._markdown, self._plain = markdown, plain

    def blocks(self, message: Message, received: Iterable[Event]) -> Iterator[Block]:
        """Yield what was received, cut where the owner's reply ends."""
        received = list(received)
        end = 1 + events.length(received) if message.cut_position is None else message.cut_position
        for event in events.before(received, end, 1):
            yield self._block(message, event, beyond=False)
        for event in events.after(received, end, 1):
            yield self._block(message, event, beyond=True)

    def _block(self, message: Message, event: Event, *, beyond: bool) -> Block:
        kind, payload = event
        if kind == events.TEXT:
            # What a person typed is no Markdown, and what follows a cut may begin in the middle of some.
            as_written = beyond or not message.is_reply
            return Block(kind, self._plain(payload) if as_written else self._formatted(payload), beyond=beyond)
        if kind == events.REASONING:
            return Block(kind, self._plain(payload), _reasoning_label(payload), beyond)
        if kind == events.TOOL_CALL:
            return Block(kind, self._plain(str(payload.get("arguments", ""))), _tool_call_label(payload), beyond)
        return Block(kind, self._plain(json.dumps(payload, indent=1, ensure_ascii=False)), kind, beyond)

    def _formatted(self, text: str) -> SafeString:
        self._left -= len(text)
        return self._markdown(text) if self._left >= 0 else self._plain(text)


@dataclass(frozen=True)
class Transcript:
    """A page of one branch of a conversation.

    bubbles: its messages in order. page: of the ids on the branch. last: the last message of the branch. onward: the
    messages that follow it. focus: the message that was asked for, or the first that is flagged. flagged: the messages of
    the branch that somebody should look at, and why, in words.
    """

    conversation: Conversation
    may_read: bool
    page: Page[uuid.UUID]
    bubbles: list[Bubble] = field(repr=False)
    last: Message | None
    onward: list[uuid.UUID]
    focus: uuid.UUID | None
    flagged: list[tuple[uuid.UUID, str]]

    @classmethod
    def open(
        cls,
        pk: uuid.UUID,
        *,
        may_read: bool,
        through: uuid.UUID | None = None,
        sought: str = "",
        page: str | None = None,
        prepare: Callable[[QuerySet[Conversation]], QuerySet[Conversation]] = lambda rows: rows,
    ) -> Transcript | None:
        """Return the branch in view, the one through a message, or through the one that a search meant.

        sought: the search term. page: its number. prepare: what else is read with the conversation. None when there is no
        such conversation or message in it. A reply whose worker died is settled first.
        """
        _recover_expired(pk)
        conversation = prepare(_conversations(may_read=may_read)).filter(pk=pk).first()
        if conversation is None:
            return None
        bad = Exists(Feedback.objects.filter(message=OuterRef("pk"), value__lt=0))
        rows = list(_messages(pk).values_list("pk", "parent_id", "request_id", "ref", "status", bad))
        tree = Tree((message, parent) for message, parent, *_rest in rows)
        if through is not None and through not in tree:
            return None
        focus = through or _sought_message(rows, sought)
        path = tree.path_through(focus) if focus else tree.path_to(conversation.head_id or tree.newest())
        flagged = _flagged(path, {row[0]: row[4] for row in rows}, {row[0] for row in rows if row[5]})
        focus = focus or next((message for message, _why in flagged), None)
        paginator = Paginator(path, PAGE_SIZE)
        shown = paginator.get_page(page or (path.index(focus) // PAGE_SIZE + 1 if focus else 1))
        found = _load(pk, {*shown.object_list, *path[-1:]}, may_read=may_read)
        formatter = Formatter()
        shown_messages = [found[key] for key in shown.object_list if key in found]
        return cls(
            conversation=conversation,
            may_read=may_read,
            page=shown,
            bubbles=[
                Bubble(
                    message,
                    tree.siblings(message.pk),
                    _blocks(formatter, message) if may_read else [],
                    _gap(before, message),
                )
                for before, message in zip([None, *shown_messages], shown_messages, strict=False)
            ],
            last=found.get(path[-1]) if path else None,
            onward=tree.children.get(path[-1], []) if path else [],
            focus=focus,
            flagged=flagged,
        )

    @property
    def cost(self) -> str:
        """What its replies cost, as far as that is known; "" where it is of none."""
        return "" if self.conversation.cost is None else money(self.conversation.cost)

    @property
    def title(self) -> str:
        """Its title, or its name without text for who may not read it."""
        return (self.may_read and self.conversation.title) or str(self.conversation)

    @property
    def owner(self) -> str:
        """Whose it is."""
        return owner_name(self.conversation)

    @property
    def outcome(self) -> str:
        """How the branch ended, in words."""
        if self.last is None:
            return _("There are no messages.")
        return in_words(self.last) if self.last.is_reply else _("The last message has no reply.")

    @property
    def context(self) -> list[tuple[str, str]]:
        """What the site or its client said about it, where that is a word or a number: the page, the app's version."""
        return [(name, str(value)) for name, value in self._metadata.items() if isinstance(value, str | int | float)]

    @property
    def metadata(self) -> str:
        """The rest of what was said about it, as JSON; "" for nothing."""
        rest = {name: value for name, value in self._metadata.items() if not isinstance(value, str | int | float)}
        return json.dumps(rest, indent=1, ensure_ascii=False) if rest else ""

    @property
    def _metadata(self) -> dict[str, Any]:
        if not (self.may_read and isinstance(self.conversation.metadata, dict)):
            return {}
        # What the site's own code has set may hold half a character, which no page does.
        found: dict[str, Any] = storable_value(self.conversation.metadata)
        return found


def _conversations(*, may_read: bool) -> Any:
    found = Conversation.objects.using(live_database()).select_related("owner")
    return found if may_read else found.defer("title", "system_prompt", "metadata")


def _messages(conversation: uuid.UUID) -> Any:
    return Message.objects.using(live_database()).filter(conversation_id=conversation)


def _load(conversation: uuid.UUID, keys: set[uuid.UUID], *, may_read: bool) -> dict[uuid.UUID, Message]:
    feedback = Feedback.objects.using(live_database()).select_related("by").order_by("created_at", "pk")
    messages = _messages(conversation)
    if not may_read:
        feedback = feedback.defer("comment")
        messages = messages.defer("text", "parts")
    return messages.prefetch_related(Prefetch("feedback", queryset=feedback)).in_bulk(keys)


def _recover_expired(conversation: uuid.UUID) -> None:
    recover_abandoned(LiveReply.objects.filter(conversation_id=conversation))


def _sought_message(rows: list[Any], sought: str) -> uuid.UUID | None:
    if not sought:
        return None
    return next((row[0] for row in rows if sought.lower() == str(row[0]) or sought in row[2:]), None)


def _flagged(path: list[uuid.UUID], statuses: dict[uuid.UUID, str], bad: set[uuid.UUID]) -> list[tuple[uuid.UUID, str]]:
    """Return which messages of a path somebody should look at, and why. bad: those that somebody rated so."""
    words: dict[str, str] = {
        Status.FAILED: _("failed"),
        Status.INTERRUPTED: _("broke off"),
        Status.STOPPED: _("stopped early"),
    }
    found = ((message, _("rated bad") if message in bad else words.get(statuses[message], "")) for message in path)
    flagged = [(message, why) for message, why in found if why]
    # What a person said comes before what the machine noticed.
    return sorted(flagged, key=lambda each: each[0] not in bad)


def _gap(before: Message | None, message: Message) -> str:
    if before is None:
        return ""
    since = before.ended_at or before.created_at
    return str(timesince(since, message.created_at, depth=1)) if message.created_at - since >= _GAP else ""


def _blocks(formatter: Formatter, message: Message) -> list[Block]:
    if message.is_live:
        received = ReplyEvent.objects.using(live_database()).stream(message.pk)
        if not LiveReply.objects.using(live_database()).filter(pk=message.pk).exists():
            # It ended in between, and its events are parts now.
            message.refresh_from_db()
            received = message.events(whole=True)
        return list(formatter.blocks(message, received))
    # A turn has parts when a provider wrote it.
    received = message.events(whole=True) or [Event(events.TEXT, message.text)] * bool(message.text)
    return list(formatter.blocks(message, received))


def _reasoning_label(text: str) -> str:
    count = len(text)
    words = ngettext("Reasoning, {count} character", "Reasoning, {count} characters", count)
    return words.format(count=localize(count))


def _tool_call_label(payload: dict[str, Any]) -> str:
    whole = payload.get("complete", True)
    words = _("Tool call: {name}") if whole else _("Tool call that was cut off: {name}")
    return words.format(name=payload.get("name", ""))


def _facts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield what is known about a reply; "" for what is not."""
    yield _("Model"), message.model or message.provider
    yield _("Tokens"), _tokens(message)
    yield _("Cost"), "" if message.cost is None else money(message.cost)
    yield _("To first event"), _milliseconds(message.first_event_ms)
    yield _("Reasoning"), _milliseconds(message.reasoning_ms)
    yield _("Total time"), _milliseconds(message.duration_ms)
    yield _("Speed"), _speed(message)
    yield _("Ending"), " / ".join(filter(None, [message.status, message.end_reason]))
    yield _("Error"), _error(message)
    yield _("Finish reason"), message.finish_reason
    yield _("Cut"), _cut(message)
    yield _("Left out of the prompt"), _left_out(message)
    yield _("Request id"), message.request_id
    yield _("Reference"), message.ref
    yield _("Message"), str(message.pk)


def _tokens(message: Message) -> str:
    found = [
        words.format(count=localize(count))
        for words, count in (
            (_("{count} in"), message.input_tokens),
            (_("{count} of them cached"), message.cached_input_tokens),
            (_("{count} out"), message.output_tokens),
            (_("{count} of them reasoning"), message.reasoning_tokens),
        )
        if count is not None
    ]
    return ", ".join([*found, _("estimated")] if found and message.tokens_estimated else found)


def _milliseconds(count: int | None) -> str:
    return "" if count is None else _("{count} ms").format(count=localize(count))


def _speed(message: Message) -> str:
    """Return the tokens a second from the first on; "" where either is unknown or too short to say."""
    took = (message.duration_ms or 0) - (message.first_event_ms or 0)
    if not message.output_tokens or message.first_event_ms is None or took < 1:
        return ""
    return _("{count} tokens/s").format(count=localize(round(1000 * message.output_tokens / took)))


def _error(message: Message) -> str:
    code = message.error_code
    return f"{code}: {error_text(code)}" if code in ERRORS else code


def _cut(message: Message) -> str:
    if message.cut_position is None:
        return ""
    at, of = localize(message.cut_position), localize(message.position)
    return _("at position {at} of {of}").format(at=at, of=of)


def _left_out(message: Message) -> str:
    count = message.omitted_messages
    return ngettext("{count} message", "{count} messages", count).format(count=localize(count)) if count else ""
