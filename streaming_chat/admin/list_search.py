"""The search of the list of conversations: by owner, id, reference, or words of the texts, for reviewers also of notes.

Among a million rows, exact values (ids, references) are looked up in an index first. Only if none matches is the query
compared with names and, for users who may read, searched in the texts; that has an access record, saved first.
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
from streaming_chat.privacy.audit import record
from streaming_chat.search import notes, query
from streaming_chat.search.tokenizer import terms

from .pages import as_uuid, owner_keys
from .review_bar import may_review

# A request id or reference belongs to one message; a proxy that reuses its ids must not make the query endless.
_MAX_MESSAGES = 100
# Users whose names match. With more, the result would be of no use.
_MAX_OWNERS = 50
_MAX_CONVERSATIONS = 1_000


def search(queryset: QuerySet[Conversation], term: str, *, request: Any = None) -> QuerySet[Conversation]:
    """Return the conversations that match a query, which is clean and not empty.

    request: of a user who may read texts; None: texts are not searched.
    """
    condition = _by_id(term) or _by_owner_key(term) or _by_reference(term)
    if condition is None:
        # In queries of their own: a single query with all of it reads every row (SQLite, 200,000: 390 ms and more).
        in_texts = _in_texts(term, request) if request is not None else set()
        condition = Q(pk__in=_of_owners(term) | in_texts)
    return queryset.filter(condition)


def _in_texts(term: str, request: Any) -> set[uuid.UUID]:
    if not terms(term):
        return set()
    # The record of the list or export that follows leaves these words out: see lists.py.
    request.search_record = record(AccessRecord.Kind.SEARCH, request.user, terms=term)
    found, request.has_more_texts = query.conversations(term)
    return found | (notes.conversations(term, query.MAX_LISTED_HITS) if may_review(request) else set())


def _by_id(term: str) -> Q | None:
    if (pk := as_uuid(term)) is None:
        return None
    # In a query of its own: a single query with both reads every row (a million: 290 ms; so: 2 ms).
    conversations = set(Message.objects.filter(pk=pk).values_list("conversation", flat=True))
    return Q(pk__in=conversations | {pk}) | Q(owner_key=f"u:{pk}")


def _by_owner_key(term: str) -> Q | None:
    """Match an owner key, unless it owns nothing: a username may look like one."""
    keys = owner_keys(term)
    return Q(owner_key__in=keys) if keys and Conversation.objects.filter(owner_key__in=keys).exists() else None


def _by_reference(term: str) -> Q | None:
    # Each condition repeats that of its partial index: SQLite does not infer it, and read a million rows in 260 ms.
    condition = (Q(request_id=term) & ~Q(request_id="")) | (Q(ref=term.lower()) & ~Q(ref=""))
    messages = Message.objects.filter(condition).order_by()
    found = set(messages.values_list("conversation", flat=True)[:_MAX_MESSAGES])
    return Q(pk__in=found) if found else None


def _of_owners(term: str) -> set[uuid.UUID]:
    """Return the newest conversations of the users whose name, e-mail address or primary key matches."""
    # By owner key: its index has the time and the id too, so the rows are not read.
    owned = Conversation.objects.filter(owner_key__in=[f"u:{pk}" for pk in find_users(term)])
    # An expression: ordered by the column, SQLite goes through all conversations from the newest on (200,000: 280 ms).
    newest = Coalesce("last_activity", "last_activity").desc()
    return set(owned.order_by(newest).values_list("pk", flat=True)[:_MAX_CONVERSATIONS])


def find_users(term: str) -> list[Any]:
    """Return the primary keys of the users whose name, e-mail address or primary key matches."""
    user_model = get_user_model()
    condition = Q()
    for field in owner_fields():
        condition |= Q(**{f"{field}__icontains": term})
    with contextlib.suppress(ValidationError):
        condition |= Q(pk=user_model._meta.pk.to_python(term))
    users = user_model._default_manager.filter(condition).order_by("pk")
    return list(users.values_list("pk", flat=True)[:_MAX_OWNERS])


def owner_fields() -> set[str]:
    """Return the text fields of the site's user model that name a person: the username and the e-mail address."""
    user_model: Any = get_user_model()
    text_fields = {field.name for field in user_model._meta.concrete_fields if not field.is_relation}
    return {user_model.USERNAME_FIELD, user_model.get_email_field_name()} & text_fields
