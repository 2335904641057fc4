"""A transcript: what staff see of a conversation. A summary, then one branch, message by message.

The number of queries is the same for any length. Without the permission to read, no text is loaded.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from streaming_chat.chats.branches import SIZE, fitting
from streaming_chat.chats.tree import Siblings, Tree
from streaming_chat.db.alias import live_database
from streaming_chat.engine.recovery import recover_abandoned
from streaming_chat.models import BlockedOwner, Conversation, Feedback, LiveReply, Message, Status
from streaming_chat.protocol import endings
from streaming_chat.protocol.storable_text import storable_value
from streaming_chat.rendering.ending_sentences import describe_to_staff

from .calls import CallLine, read_calls
from .flags import Flag, Row, find_flags, read_rows
from .formats import money, owner_name, title_of
from .parts import Part, PartRenderer, facts_of

# Messages. A browser paints 50 in 0.35 s (0.7 s under load), 100 in 1.1 s: benchmarks/paint.py.
PAGE_SIZE = 50
# A pause that the page mentions.
_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True)
class Bubble:
    """A message as the page shows it.

    shown: what its owner saw. beyond: what arrived after the cut. pause: the time since the message before, in words; "" if
    it is short. is_left_out: its text did not fit on the page. calls: of the site's tools.
    """

    message: Message
    siblings: Siblings
    shown: list[Part] = field(repr=False)
    beyond: list[Part] = field(repr=False)
    pause: str = ""
    is_left_out: bool = False
    calls: list[CallLine] = field(default_factory=list)

    @property
    def page(self) -> str:
        """What the page told that the message was sent from, as JSON; "" for nothing."""
        context = storable_value(self.message.page_context)
        return json.dumps(context, ensure_ascii=False, indent=2) if context else ""

    @property
    def outcome(self) -> str:
        """How the reply ended, in words."""
        return describe_to_staff(self.message)

    @property
    def is_ordinary(self) -> bool:
        """Whether it ended as most replies do, which the page does not mention."""
        return (self.message.status, self.message.end_reason) == (Status.COMPLETED, "stop")

    @property
    def is_unformatted(self) -> bool:
        """Whether some of its text is plain, because the messages before it have used the page's budget."""
        return any(part.is_unformatted for part in self.shown)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is known about the reply, as labels and values."""
        return facts_of(self.message)

    @property
    def feedback(self) -> list[Feedback]:
        """The ratings of the reply."""
        return list(self.message.feedback.all())


# By message: what its owner saw, and what arrived after the cut.
_Parts = dict[uuid.UUID, tuple[list[Part], list[Part]]]
_Calls = dict[uuid.UUID, list[CallLine]]


@dataclass(frozen=True)
class Transcript:
    """A page of one branch of a conversation.

    bubbles: its messages in order. page: of the ids on the branch. last: the last message of the branch. onward: the
    messages that follow it. focus: the message that was asked for, else the first flagged one, else the live one. flags: of
    all branches. live: the reply that is being written, on any branch, or that waits for an answer (is_waiting). owners: the
    last message of the branch that its owner sees; None if that is this branch.
    """

    conversation: Conversation
    may_read: bool
    page: Page[uuid.UUID]
    bubbles: list[Bubble] = field(repr=False)
    last: Message | None
    onward: list[uuid.UUID]
    focus: uuid.UUID | None
    flags: list[Flag]
    live: uuid.UUID | None
    owners: uuid.UUID | None
    is_waiting: bool = False

    @classmethod
    def open(
        cls,
        pk: uuid.UUID,
        *,
        may_read: bool,
        through: uuid.UUID | None = None,
        query: str = "",
        page: str | None = None,
        first: str = "",
        prepare: Callable[[QuerySet[Conversation]], QuerySet[Conversation]] = lambda rows: rows,
    ) -> Transcript | None:
        """Return the branch in view, or the one through a message: the given one, or the one that a search has found.

        query: of that search. page: its number. first: the id of a message that is formatted before the others. prepare:
        extends the query of the conversation. Returns None if the conversation, or the message in it, does not exist. The
        reply of a dead worker is recovered first.
        """
        rows = _recovered_rows(pk)
        conversation = prepare(_conversations(may_read=may_read)).filter(pk=pk).first()
        if conversation is None or (through is not None and through not in rows):
            return None
        tree = Tree((row.id, row.parent) for row in rows.values())
        owners = tree.path_to(conversation.head_id or tree.newest())
        flags = find_flags(list(rows.values()), tree, owners)
        live = next((row.id for row in rows.values() if row.status in endings.LIVE), None)
        focus = through or _message_found(rows.values(), query) or (flags[0].message if flags else live)
        branch = tree.path_through(focus) if focus else owners
        last = branch[-1] if branch else None
        shown = _page(branch, page, focus)
        messages = _load(conversation.pk, {*shown.object_list, *branch[-1:]}, may_read=may_read)
        parts = _parts(_load_texts(messages, shown.object_list, focus), first) if may_read else {}
        calls = _calls(conversation, [messages[pk] for pk in shown.object_list if pk in messages], may_read=may_read)
        return cls(
            conversation,
            may_read,
            page=shown,
            bubbles=_bubbles(
                [messages[pk] for pk in shown.object_list if pk in messages], tree, parts, calls, may_read
            ),
            last=messages.get(last) if last else None,
            onward=tree.children.get(last, []) if last else [],
            focus=focus,
            flags=flags,
            live=live,
            owners=owners[-1] if owners and owners[-1] not in branch else None,
            is_waiting=live is not None and rows[live].status == endings.WAITING,
        )

    @property
    def cost(self) -> str:
        """The known cost of its replies; "" if none is known."""
        return "" if self.conversation.cost is None else money(self.conversation.cost)

    @property
    def title(self) -> str:
        """The title, or for users who may not read it, the id."""
        return title_of(self.conversation) if self.may_read else str(self.conversation)

    @property
    def owner(self) -> str:
        """The owner's name."""
        return owner_name(self.conversation)

    @property
    def outcome(self) -> str:
        """How the branch ended, in words."""
        if self.last is None:
            return _("There are no messages.")
        return describe_to_staff(self.last) if self.last.is_reply else _("The last message has no reply.")

    @property
    def context(self) -> list[tuple[str, str]]:
        """The metadata that are words or numbers, such as the page and the app's version."""
        return [(name, str(value)) for name, value in self._metadata.items() if isinstance(value, str | int | float)]

    @property
    def metadata(self) -> str:
        """The other metadata, as JSON; "" for none."""
        rest = {name: value for name, value in self._metadata.items() if not isinstance(value, str | int | float)}
        return json.dumps(rest, indent=1, ensure_ascii=False) if rest else ""

    @property
    def _metadata(self) -> dict[str, Any]:
        if not (self.may_read and isinstance(self.conversation.metadata, dict)):
            return {}
        # The site's own code may have set half a character (a lone surrogate), which a page cannot have.
        metadata: dict[str, Any] = storable_value(self.conversation.metadata)
        return metadata


def _conversations(*, may_read: bool) -> Any:
    is_blocked = Exists(BlockedOwner.objects.filter(pk=OuterRef("owner_key")))
    rows = Conversation.objects.using(live_database()).select_related("owner", "share_link")
    rows = rows.annotate(owner_is_blocked=is_blocked)
    return rows if may_read else rows.defer("title", "system_prompt", "metadata")


def _recovered_rows(conversation: uuid.UUID) -> dict[uuid.UUID, Row]:
    """Return the messages, by id; a live reply of a dead worker is recovered first."""
    rows = {row.id: row for row in read_rows(conversation)}
    if any(row.status in endings.LIVE for row in rows.values()):
        recovered, _more = recover_abandoned(LiveReply.objects.filter(conversation_id=conversation), may_go_on=True)
        if recovered:
            rows = {row.id: row for row in read_rows(conversation)}
    return rows


def _messages(conversation: uuid.UUID) -> Any:
    return Message.objects.using(live_database()).filter(conversation_id=conversation)


def _load(conversation: uuid.UUID, ids: set[uuid.UUID], *, may_read: bool) -> dict[uuid.UUID, Message]:
    feedback = Feedback.objects.using(live_database()).select_related("by").order_by("created_at", "pk")
    messages = _messages(conversation).defer("text", "parts")
    if may_read:
        messages = messages.annotate(size=SIZE)
    else:
        feedback = feedback.defer("comment")
    return messages.prefetch_related(Prefetch("feedback", queryset=feedback)).in_bulk(ids)


def _load_texts(messages: dict[uuid.UUID, Any], shown: Iterable[uuid.UUID], focus: uuid.UUID | None) -> list[Message]:
    """Load the texts that fit on the page, that of the message in focus first; return their messages in order."""
    in_turn = sorted((pk for pk in shown if pk in messages), key=lambda pk: pk != focus)
    ids = fitting((pk, messages[pk].size) for pk in in_turn)
    for pk, text, parts in Message.objects.using(live_database()).filter(pk__in=ids).values_list("pk", "text", "parts"):
        messages[pk].text, messages[pk].parts = text, parts
    return [messages[pk] for pk in shown if pk in ids]


def _message_found(rows: Iterable[Row], query: str) -> uuid.UUID | None:
    """Return the message whose id, request id or reference is a search query; None for any other query."""
    if not query:
        return None
    lowered = query.lower()
    return next((row.id for row in rows if lowered in (str(row.id), row.ref) or query == row.request_id), None)


def _page(branch: list[uuid.UUID], number: str | None, focus: uuid.UUID | None) -> Page[uuid.UUID]:
    """Return a page of a branch by its number, or by default the one with the message in focus."""
    number_of_focus = branch.index(focus) // PAGE_SIZE + 1 if focus else 1
    return Paginator(branch, PAGE_SIZE).get_page(number or number_of_focus)


def _bubbles(messages: list[Message], tree: Tree, parts: _Parts, calls: _Calls, may_read: bool) -> list[Bubble]:
    return [
        Bubble(
            message,
            tree.siblings(message.pk),
            *parts.get(message.pk, ([], [])),
            _pause(before, message),
            is_left_out=may_read and message.pk not in parts,
            calls=calls.get(message.pk, []),
        )
        for before, message in zip([None, *messages], messages, strict=False)
    ]


def _calls(conversation: Conversation, messages: Iterable[Message], *, may_read: bool) -> _Calls:
    """Return the calls of messages by their ids. No query if none of them has any."""
    # Redaction and erasure leave which tools were called.
    is_erased = conversation.erased_at is not None
    with_calls = [
        message.pk
        for message in messages
        if message.has_more_than_text or message.is_live or message.redacted_at or (is_erased and message.is_reply)
    ]
    return read_calls(with_calls, may_read=may_read) if with_calls else {}


def _parts(messages: list[Message], first: str) -> _Parts:
    """Return the parts of messages by their ids. first: see Transcript.open."""
    render = PartRenderer().render
    return {message.pk: render(message) for message in sorted(messages, key=lambda each: str(each.pk) != first)}


def _pause(before: Message | None, message: Message) -> str:
    if before is None:
        return ""
    since = before.ended_at or before.created_at
    return str(timesince(since, message.created_at, depth=1)) if message.created_at - since >= _PAUSE else ""
