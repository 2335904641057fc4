"""Redacting passages: each is replaced by "[redacted]" wherever it is, in one message or in a whole conversation.

Replaced: in texts, reasoning, tool calls and sources, in the title, reviewers' notes, comments and pages, and for a whole
conversation in its system prompt and metadata. What cannot be changed in part is removed from a changed message, as by
redactions.py: saved events, the provider's state, the journal, Redis, digests. docs/privacy.md says what remains.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from django.db import router, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from streaming_chat.chats.titles import title_of
from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import SavedText
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import (
    AccessRecord,
    Conversation,
    Feedback,
    LiveReply,
    Message,
    ModelTitle,
    Review,
    SearchEntry,
)
from streaming_chat.protocol import events
from streaming_chat.search import backends, entries

from . import copies
from .audit import record
from .passages import REDACTED, Passages, Span, find_in, redacted_columns, strings_in, texts_in, texts_of
from .redactions import MIN_TERM_CHARS, StillLiveError, begins_with, searches_quoting, sharing_text

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
    found = Preview(is_live=_is_live(scope))
    quoted = set()
    for occurrence in _occurrences(scope):
        found.count += 1
        quoted.add(occurrence.passage)
        if len(found.shown) < most:
            found.shown.append(occurrence)
    found.searches = len(_searches_about(quoted, scope))
    return found


def redact_passages(scope: Scope, by: Any, *, reason: str, terms: bool = False) -> int:
    """Redact the passages; return how many messages changed. It may be called again. Blocking.

    by: as in `audit.record`. reason: why, for the access record. terms: also clear the terms of searches that occur in a
    passage, or in which one occurs.
    Raises Conversation.DoesNotExist, Message.DoesNotExist, StillLiveError.
    """
    using = live_database()
    # Before any write: SQLite does not overwrite the text of a row that was only written anew.
    backends.overwrite_deleted(using)
    return write_transaction(partial(_redact, scope, by, reason=reason, terms=terms), using=using)


def _redact(scope: Scope, by: Any, *, reason: str, terms: bool) -> int:
    using = live_database()
    conversations = Conversation.objects.using(using).filter(pk=scope.conversation)
    # The write is the lock (see models/conversations.py).
    conversations.update(last_activity=F("last_activity"))
    conversation = conversations.get()
    if _is_live(scope):
        raise StillLiveError(f"a reply of conversation {scope.conversation} is being written.")
    if terms and (about := _searches_about({each.passage for each in _occurrences(scope)}, scope)):
        _records().filter(pk__in=about).update(terms=REDACTED)
    said_by = record(
        AccessRecord.Kind.REDACT_PART,
        by,
        conversation=scope.conversation,
        message=scope.message,
        # It may quote what is removed.
        reason=scope.passages.replace(reason)[:255],
    )
    changed = [message for group in _groups(scope) for message in _redact_group(group, scope, said_by.by_name)]
    _records().filter(pk=said_by.pk).update(count=len(changed))
    copies.remove([message.pk for message in changed], using)
    _redact_title(conversation, changed, scope)
    _redact_beside(scope)
    _redact_conversation(conversation, scope)
    # Once for all entries: on SQLite it takes seconds with many messages.
    transaction.on_commit(partial(entries.purge, using), using=using)
    return len(changed)


def _is_live(scope: Scope) -> bool:
    live = LiveReply.objects.using(live_database()).filter(conversation_id=scope.conversation)
    return (live if scope.message is None else live.filter(pk__in=_ids(scope))).exists()


def _ids(scope: Scope) -> set[uuid.UUID]:
    """Return the message and the replies that share its text. Raises Message.DoesNotExist."""
    using = live_database()
    messages = Message.objects.using(using).filter(conversation_id=scope.conversation)
    pk = messages.values_list("pk", flat=True).get(pk=scope.message)
    return sharing_text(pk, scope.conversation, using)


def _groups(scope: Scope) -> Iterator[list[Message]]:
    """Yield the messages: each by itself, or the replies that share a text together."""
    messages = Message.objects.using(live_database()).filter(conversation_id=scope.conversation)
    if scope.message is not None:
        yield list(messages.filter(pk__in=_ids(scope)))
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


def _redact_group(group: Sequence[Message], scope: Scope, by_name: str) -> list[Message]:
    """Redact these messages, and return those that have changed, as they were."""
    changed = []
    for message, spans in zip(group, find_in(group, scope.passages), strict=True):
        if columns := redacted_columns(message, spans, scope.passages):
            _save(message, columns, by_name)
            changed.append(message)
        if message.model and scope.passages.spans(message.model):
            copies.remove_chosen_models(Message.objects.using(live_database()).filter(pk=message.pk))
    return changed


def _save(message: Message, columns: dict[str, Any], by_name: str) -> None:
    using = live_database()
    entries.remove([message.pk], using, purge_after_commit=False)
    Message.objects.using(using).filter(pk=message.pk).update(
        **columns,
        send_key=None,
        body_digest="",
        history_digest="",
        redacted_at=Now(),
        redacted_by=by_name,
        is_partly_redacted=True,
    )
    entries.add([SavedText(message.conversation_id, message.pk, message.is_reply, columns["text"])], using)


def _redact_title(conversation: Conversation, changed: Sequence[Message], scope: Scope) -> None:
    """Replace the passages in the title. One that was made from a changed message is made again, or goes."""
    if not conversation.title:
        return
    using = live_database()
    title = scope.passages.replace(conversation.title)
    by_model = ModelTitle.objects.using(using).filter(pk=conversation.pk, is_in_use=True)
    if origin := next((message for message in changed if begins_with(message, conversation.title)), None):
        texts = Message.objects.using(using).filter(pk=origin.pk).values_list("text", flat=True)
        title = title_of(texts.get())
    elif any(message.depth <= 1 for message in changed) and by_model.exists():
        # A model may have put it in other words.
        title = ""
        by_model.update(is_in_use=False)
    if title == conversation.title:
        return
    own_entry = SearchEntry.objects.using(using).filter(conversation=conversation.pk, message=None).exists()
    entries.remove([], using, titles_of=[conversation.pk], purge_after_commit=False)
    Conversation.objects.using(using).filter(pk=conversation.pk).update(title=title)
    if own_entry and title:
        entries.add([SavedText(conversation.pk, None, False, title)], using)


def _redact_beside(scope: Scope) -> None:
    """Replace the passages in comments and in notes."""
    for feedback in _comments(scope):
        replaced = scope.passages.replace(feedback.comment)
        if replaced != feedback.comment:
            _comments(scope).filter(pk=feedback.pk).update(comment=replaced)
    for review in _reviews(scope):
        replaced = scope.passages.replace(review.notes)
        if replaced != review.notes:
            # A reviewer whose form has the old notes must not save them again.
            _reviews(scope).filter(pk=review.pk).update(notes=replaced, version=F("version") + 1)


def _redact_conversation(conversation: Conversation, scope: Scope) -> None:
    rows = Conversation.objects.using(live_database()).filter(pk=conversation.pk)
    if scope.message is None:
        rows.update(
            system_prompt=scope.passages.replace(conversation.system_prompt),
            metadata=scope.passages.replace_in(conversation.metadata),
        )
    if scope.passages.spans(conversation.model):
        copies.remove_chosen_models(rows)


def _comments(scope: Scope) -> Any:
    comments = Feedback.objects.using(live_database()).filter(message__conversation=scope.conversation)
    comments = comments.exclude(comment="")
    return comments if scope.message is None else comments.filter(message__in=_ids(scope))


def _reviews(scope: Scope) -> Any:
    return Review.objects.using(live_database()).filter(pk=scope.conversation).exclude(notes="")


def _occurrences(scope: Scope) -> Iterator[Occurrence]:
    """Yield every passage, those of messages last."""
    conversation = Conversation.objects.using(live_database()).get(pk=scope.conversation)
    beside: list[tuple[Any, Iterable[str]]] = [(_("title"), [conversation.title])]
    if scope.message is None:
        beside += [
            (_("system prompt"), [conversation.system_prompt]),
            (_("metadata"), strings_in(conversation.metadata)),
        ]
    beside += [(_("notes"), [review.notes]) for review in _reviews(scope)]
    beside += [(_("comment"), [feedback.comment]) for feedback in _comments(scope)]
    for where, texts in beside:
        yield from _in_texts(where, texts, scope)
    for group in _groups(scope):
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


def _searches_about(quoted: set[str], scope: Scope) -> set[int]:
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
            searches = _records().filter(has_passage, kind=AccessRecord.Kind.SEARCH)
            found |= set(searches.values_list("pk", flat=True))
    return found


def _pages(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _records() -> Any:
    return AccessRecord.objects.using(router.db_for_write(AccessRecord))
