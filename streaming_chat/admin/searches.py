"""Finding conversations by what support is given: an owner, an id, a reference, words of a title.

A million rows: what is exact (ids, references) is looked up in an index first, and only what is not found so is
compared with names and titles.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from streaming_chat.models import Conversation, Message

# One request id or reference belongs to one message; a proxy that reuses its ids must not make the query endless.
_MAX_MESSAGES = 100


def find(queryset: QuerySet[Conversation], term: str, *, in_titles: bool) -> QuerySet[Conversation]:
    """Return the conversations that a search term means; all of them for "". in_titles: titles may be read."""
    term = term.strip()
    if not term:
        return queryset
    exact = _by_id(term) or _by_visitor(term) or _by_reference(term)
    return queryset.filter(exact or _by_words(term, in_titles=in_titles))


def as_uuid(term: str) -> uuid.UUID | None:
    """Return the id that a term is, None for any other."""
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def _by_id(term: str) -> Q | None:
    if (sought := as_uuid(term)) is None:
        return None
    # Looked up first: one query with both in it reads every row (a million: 290 ms; so: 2).
    conversations = set(Message.objects.filter(pk=sought).values_list("conversation", flat=True))
    return Q(pk__in=conversations | {sought}) | Q(owner_key=f"u:{sought}")


def _by_visitor(term: str) -> Q | None:
    """Find by a visitor's owner key, as it stands in the address of their conversations."""
    return Q(owner_key=term) if term.startswith("v:") else None


def _by_reference(term: str) -> Q | None:
    messages = Message.objects.filter(Q(request_id=term) | Q(ref=term)).order_by()
    found = set(messages.values_list("conversation", flat=True)[:_MAX_MESSAGES])
    return Q(pk__in=found) if found else None


def _by_words(term: str, *, in_titles: bool) -> Q:
    named = Q()
    for field in owner_fields():
        named |= Q(**{f"{field}__icontains": term})
    found = Q(owner__in=get_user_model()._default_manager.filter(named)) | Q(owner_key=f"u:{term}")
    return found | Q(title__icontains=term) if in_titles else found


def owner_fields() -> set[str]:
    """Return the fields of the site's user model that a person is known by: the one to sign in with, and the e-mail."""
    user_model: Any = get_user_model()
    return {user_model.USERNAME_FIELD, user_model.get_email_field_name()} & _text_fields(user_model)


def _text_fields(model: Any) -> set[str]:
    return {field.name for field in model._meta.concrete_fields if not field.is_relation}
