"""Finding conversations by what support is given: an owner, an id, a reference, or words of their texts.

A million rows: what is exact (ids, references) is looked up in an index first. Only what is not found so is compared
with names and, for who may read, sought in the texts, which is a reading, and recorded before it is done.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from streaming_chat.models import AccessRecord, Conversation, Message
from streaming_chat.privacy.accesses import record
from streaming_chat.protocol.text import storable
from streaming_chat.search import query
from streaming_chat.search.tokenizer import terms

# One request id or reference belongs to one message; a proxy that reuses its ids must not make the query endless.
_MAX_MESSAGES = 100
# Of the owners that a name means; more would be no answer.
_MAX_OWNERS = 50
_MAX_CONVERSATIONS = 1_000
# Longer than any id; the rest of what somebody pasted finds nothing more.
MAX_CHARS = 500


def sought_in(text: str) -> str:
    """Return what a person seeks, as it may be stored."""
    return storable(text).strip()[:MAX_CHARS]


def find(queryset: QuerySet[Conversation], text: str, *, reading: Any = None) -> QuerySet[Conversation]:
    """Return the conversations that a search means; all of them for "".

    reading: the request of who may read texts; None: they are not searched. Raises query.SearchUnavailable.
    """
    sought = sought_in(text)
    if not sought:
        return queryset
    found = _by_id(sought) or _by_visitor(sought) or _by_reference(sought)
    if found is None:
        # Looked up first: one query with all of it reads every row (SQLite, 200,000: 390 ms and more).
        found = Q(pk__in=_of_owners(sought) | (_in_texts(sought, reading) if reading is not None else set()))
    return queryset.filter(found)


def by_names(queryset: QuerySet[Conversation], text: str) -> QuerySet[Conversation]:
    """Return the conversations of the owners that a search means, where texts cannot be searched."""
    return queryset.filter(pk__in=_of_owners(sought_in(text)))


def _in_texts(sought: str, request: Any) -> set[uuid.UUID]:
    if not terms(sought):
        return set()
    record(AccessRecord.Kind.SEARCH, request.user, terms=sought)
    # What shows or exports the rows need not record these words again: lists.py.
    request.searched_texts = True
    found, request.has_more_texts = query.conversations(sought)
    return found


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
    # Said again what their partial indexes say of themselves: SQLite does not see it, and read a million rows in 260 ms.
    of_these = (Q(request_id=term) & ~Q(request_id="")) | (Q(ref=term) & ~Q(ref=""))
    messages = Message.objects.filter(of_these).order_by()
    found = set(messages.values_list("conversation", flat=True)[:_MAX_MESSAGES])
    return Q(pk__in=found) if found else None


def _of_owners(term: str) -> set[uuid.UUID]:
    """Return the newest conversations of the users that a term means."""
    user_model = get_user_model()
    named = Q()
    for field in owner_fields():
        named |= Q(**{f"{field}__icontains": term})
    with contextlib.suppress(ValidationError):
        named |= Q(pk=user_model._meta.pk.to_python(term))
    users = user_model._default_manager.filter(named).order_by("pk").values_list("pk", flat=True)[:_MAX_OWNERS]
    # By their keys, of which an index has the time and the id, too: nothing else is read of the rows.
    theirs = Conversation.objects.filter(owner_key__in=[f"u:{pk}" for pk in users])
    # By an expression: ordered by the column, SQLite goes through all conversations from the newest on (200,000: 280 ms).
    newest = Coalesce("last_activity", "last_activity").desc()
    return set(theirs.order_by(newest).values_list("pk", flat=True)[:_MAX_CONVERSATIONS])


def owner_fields() -> set[str]:
    """Return the fields of the site's user model that a person is known by: the one to sign in with, and the e-mail."""
    user_model: Any = get_user_model()
    return {user_model.USERNAME_FIELD, user_model.get_email_field_name()} & _text_fields(user_model)


def _text_fields(model: Any) -> set[str]:
    return {field.name for field in model._meta.concrete_fields if not field.is_relation}
