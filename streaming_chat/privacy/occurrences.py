"""Where the passages of a redaction are: in messages, and in the texts that belong to them. Changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from django.db import router
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from streaming_chat.db.alias import live_database
from streaming_chat.models import (
    AccessRecord,
    Conversation,
    Feedback,
    LiveReply,
    Message,
    Review,
    ReviewNotes,
    ToolCall,
    Verdict,
)
from streaming_chat.protocol import events

from .passages import Passages, Span, find_in, strings_in, texts_in, texts_of
from .redactions import MIN_TERM_CHARS, searches_quoting, sharing_text

T = TypeVar("T")

# Messages that are in memory at once.
_PAGE_SIZE = 50
# Characters of a preview on each side of a passage.
_AROUND = 60
# Passages that one query looks for in search terms.
_MOST_PASSAGES = 50


@dataclass(frozen=True, repr=False)
class Scope:
    """Where passages are redacted. message: None for the whole conversation. Its repr is the default one: no text."""

    conversation: uuid.UUID
    passages: Passages
    message: uuid.UUID | None = None


class Occurrence(NamedTuple):
    """A passage with what is around it. where: in words. message: None for a text of the conversation."""

    where: Any
    message: uuid.UUID | None
    before: str
    passage: str
    after: str

    def __repr__(self) -> str:
        return f"Occurrence(message={self.message})"


@dataclass
class Preview:
    """What a redaction would replace. shown: the first of the occurrences. searches: whose terms are about a passage."""

    shown: list[Occurrence] = field(default_factory=list, repr=False)
    count: int = 0
    searches: int = 0
    is_live: bool = False


def preview(scope: Scope, most: int) -> Preview:
    """Return what `redact_passages` would replace, with so many occurrences at most. Blocking, changes nothing."""
    found = Preview(is_live=is_live(scope))
    quoted = set()
    for occurrence in occurrences(scope):
        found.count += 1
        quoted.add(occurrence.passage)
        if len(found.shown) < most:
            found.shown.append(occurrence)
    found.searches = len(searches_about(quoted, scope))
    return found


def is_live(scope: Scope) -> bool:
    """Return whether a reply is being written that would bring a passage back."""
    live = LiveReply.objects.using(live_database()).filter(conversation_id=scope.conversation)
    return (live if scope.message is None else live.filter(pk__in=_ids(scope.conversation, scope.message))).exists()


def _ids(conversation: uuid.UUID, message: uuid.UUID) -> set[uuid.UUID]:
    """Return the message and the replies that share its text. Raises Message.DoesNotExist."""
    using = live_database()
    messages = Message.objects.using(using).filter(conversation_id=conversation)
    pk = messages.values_list("pk", flat=True).get(pk=message)
    return sharing_text(pk, conversation, using)


def groups(scope: Scope) -> Iterator[list[Message]]:
    """Yield the messages: each by itself, or the replies that share a text together."""
    messages = Message.objects.using(live_database()).filter(conversation_id=scope.conversation)
    if scope.message is not None:
        yield list(messages.filter(pk__in=_ids(scope.conversation, scope.message)))
        return
    pairs = messages.exclude(continues=None).values_list("pk", "continues_id")
    shared = {pk for pair in pairs for pk in pair}
    single = [pk for pk in messages.order_by("pk").values_list("pk", flat=True) if pk not in shared]
    for page in _pages(single, _PAGE_SIZE):
        yield from ([message] for message in messages.filter(pk__in=page).order_by("pk"))
    while shared:
        group = sharing_text(min(shared), scope.conversation, live_database())
        shared -= group
        yield list(messages.filter(pk__in=group).order_by("pk"))


def comments_in(scope: Scope) -> Any:
    """Return the comments on the messages of the scope."""
    comments = Feedback.objects.using(live_database()).filter(message__conversation=scope.conversation)
    comments = comments.exclude(comment="")
    return comments if scope.message is None else comments.filter(message__in=_ids(scope.conversation, scope.message))


def reviews_of(scope: Scope) -> Any:
    """Return the review of the conversation, if it has notes."""
    return Review.objects.using(live_database()).filter(pk=scope.conversation).exclude(notes="")


def notes_in(scope: Scope) -> Any:
    """Return all versions of the notes of the conversation."""
    return ReviewNotes.objects.using(live_database()).filter(conversation=scope.conversation).exclude(text="")


def corrections_in(scope: Scope) -> Any:
    """Return the verdicts with corrected answers for the messages of the scope."""
    verdicts = Verdict.objects.using(live_database()).filter(conversation=scope.conversation).exclude(correction="")
    return verdicts if scope.message is None else verdicts.filter(message__in=_ids(scope.conversation, scope.message))


def calls_in(scope: Scope) -> Iterator[ToolCall]:
    """Yield the tool calls of the messages of the scope."""
    calls = ToolCall.objects.using(live_database()).filter(message__conversation=scope.conversation)
    if scope.message is not None:
        calls = calls.filter(message__in=_ids(scope.conversation, scope.message))
    for page in _pages(list(calls.order_by("pk").values_list("pk", flat=True)), _PAGE_SIZE):
        yield from ToolCall.objects.using(live_database()).filter(pk__in=page).order_by("pk")


def occurrences(scope: Scope) -> Iterator[Occurrence]:
    """Yield every passage, those of messages last."""
    conversation = Conversation.objects.using(live_database()).get(pk=scope.conversation)
    beside: list[tuple[Any, Iterable[str]]] = [(_("title"), [conversation.title])]
    if scope.message is None:
        beside += [
            (_("system prompt"), [conversation.system_prompt]),
            (_("metadata"), strings_in(conversation.metadata)),
        ]
    # The newest version is in both.
    notes = {
        text
        for rows in (reviews_of(scope).values_list("notes"), notes_in(scope).values_list("text"))
        for (text,) in rows
    }
    beside += [
        (_("notes"), sorted(notes)),
        (_("corrected answer"), [each.correction for each in corrections_in(scope)]),
    ]
    beside += [(_("comment"), [feedback.comment]) for feedback in comments_in(scope)]
    # The arguments and the output of a call are also parts of its reply.
    beside += [(_("answer to a tool call"), texts_in(call.answer)) for call in calls_in(scope) if call.answer]
    for where, texts in beside:
        yield from _in_texts(where, texts, scope)
    for group in groups(scope):
        for message, spans in zip(group, find_in(group, scope.passages), strict=True):
            for kind, text in texts_of(message).items():
                where = _("reasoning") if kind == events.REASONING else message.get_role_display()
                yield from (_around(where, message.pk, text, span) for span in spans.get(kind, ()))
            for part in message.parts:
                if part["kind"] not in events.DELTAS:
                    yield from _in_texts(_("tool call or source"), texts_in(part), scope, message.pk)
            yield from _in_texts(_("page"), texts_in(message.page_context or {}), scope, message.pk)


def _in_texts(where: Any, texts: Iterable[str], scope: Scope, message: uuid.UUID | None = None) -> Iterator[Occurrence]:
    for text in texts:
        yield from (_around(where, message, text, span) for span in scope.passages.spans(text))


def _around(where: Any, message: uuid.UUID | None, text: str, span: Span) -> Occurrence:
    start, end = span
    return Occurrence(where, message, text[max(start - _AROUND, 0) : start], text[start:end], text[end : end + _AROUND])


def searches_about(quoted: set[str], scope: Scope) -> set[int]:
    """Return the access records of searches whose terms occur in a passage, or in which one occurs."""
    created = (
        Conversation.objects.using(live_database()).values_list("created_at", flat=True).get(pk=scope.conversation)
    )
    found: set[int] = set()
    for some in _pages(sorted(quoted), _MOST_PASSAGES):
        about = searches_quoting("\n".join(some), created)
        found |= set(about.values_list("pk", flat=True))
        has_passage = Q()
        for passage in some:
            if len(passage) >= MIN_TERM_CHARS:
                has_passage |= Q(terms__icontains=passage)
        if has_passage:
            searches = access_records().filter(has_passage, kind=AccessRecord.Kind.SEARCH)
            found |= set(searches.values_list("pk", flat=True))
    return found


def _pages(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def access_records() -> Any:
    """Return the access records in the database for writes."""
    return AccessRecord.objects.using(router.db_for_write(AccessRecord))
