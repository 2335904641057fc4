"""Looks up passages of the site's articles for a question: STREAMING_CHAT_CONTEXT=chatproject.context.context."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db import connection
from django.db.models import Case, QuerySet, Value, When
from django.urls import reverse

from streaming_chat.providers.base import RunContext, Turn
from streaming_chat.providers.context import Context, Document

from .models import Passage

_MOST_WORDS = 20
_MOST_PASSAGES = 3


def context(run: RunContext, turns: Sequence[Turn]) -> Context | None:
    """Return the passages that have most to do with the user's last message."""
    question = next(turn.text for turn in reversed(turns) if turn.role == "user")
    words = re.findall(r"\w{4,}", question)[:_MOST_WORDS]
    if not words:
        return None
    search = _search_postgres if connection.vendor == "postgresql" else _search_anywhere
    passages = search(words).order_by("-score", "pk")[:_MOST_PASSAGES]
    return Context(documents=[_document(passage) for passage in passages])


def _search_postgres(words: Sequence[str]) -> QuerySet[Passage]:
    vector = SearchVector("title", weight="A", config="english") + SearchVector("text", config="english")
    query = SearchQuery(" OR ".join(words), search_type="websearch", config="english")
    return Passage.objects.annotate(found=vector, score=SearchRank(vector, query)).filter(found=query)


def _search_anywhere(words: Sequence[str]) -> QuerySet[Passage]:
    """Return the passages that contain a word. score: how many of them."""
    found = [Case(When(text__icontains=word, then=Value(1)), default=Value(0)) for word in words]
    return Passage.objects.annotate(score=sum(found, start=Value(0))).filter(score__gt=0)


def _document(passage: Passage) -> Document:
    return Document(id=passage.pk, title=passage.title, url=reverse("article"), text=passage.text)
