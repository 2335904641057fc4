"""Searches the texts of one owner, for the list of their conversations.

It reads the words of the owner's entries, on PostgreSQL through the index if that is cheaper. The index alone would find the
newest texts of all owners, of which this owner's may be none; and SQLite needs no FTS5 for this.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, UUIDField

from streaming_chat.models import Conversation, ConversationQuerySet, Message, SearchEntry

from .has_term import HasTerm
from .snippets import LIST, Piece, snippets
from .tokenizer import Term, terms

Match = tuple[uuid.UUID | None, list[Piece]]


def as_typed(text: str) -> list[Term]:
    """Return the terms of a search that is shown while it is typed: the last word may be the beginning of one."""
    return terms(text if text.endswith('"') else f"{text}*")


def matching(conversations: ConversationQuerySet, text: str) -> ConversationQuerySet:
    """Return the conversations of an owner with all the terms in one text, or with the whole text in the title."""
    parsed = as_typed(text)
    in_title = Q(title__icontains=text)
    return conversations.filter(in_title | Exists(_entries(parsed)) if parsed else in_title)


def matches(conversations: Sequence[Conversation], text: str) -> dict[uuid.UUID, Match]:
    """Return, by conversation, its newest message that matches and a snippet of it; None and the title without one."""
    parsed = as_typed(text)
    newest = _newest(conversations, parsed)
    texts = dict(Message.objects.filter(pk__in=newest.values()).values_list("pk", "text"))
    found: dict[uuid.UUID, Match] = {}
    for conversation in conversations:
        message = newest.get(conversation.pk)
        shown = conversation.title if message is None else texts.get(message, "")
        found[conversation.pk] = (message, snippets(shown, parsed, LIST)[0])
    return found


def _newest(conversations: Sequence[Conversation], parsed: Sequence[Term]) -> dict[uuid.UUID, uuid.UUID]:
    if not parsed:
        return {}
    message = Subquery(_entries(parsed).exclude(message=None).order_by("-pk").values("message")[:1], UUIDField())
    shown = Conversation.objects.filter(pk__in=[conversation.pk for conversation in conversations])
    pairs = shown.order_by().annotate(match=message).filter(match__isnull=False).values_list("pk", "match")
    return dict(pairs)


def _entries(parsed: Sequence[Term]) -> QuerySet[SearchEntry]:
    """Return the entries of the outer query's conversation with all the terms."""
    entries = SearchEntry.objects.filter(conversation=OuterRef("pk"))
    for term in parsed:
        entries = entries.filter(HasTerm("words", term=term))
    return entries
