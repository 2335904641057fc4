"""Whose texts an access record is about: the owner that it names, or the owners of what a search or an export showed.

They answer who read a person's conversations, also once these are erased.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence

from django.db import connections, router
from django.db.models import Q

from streaming_chat.db.alias import live_database
from streaming_chat.models import AccessedOwner, AccessRecord, Conversation

# One statement for any number, outside a transaction. `bulk_create` opens one, which makes three.
_ADD = "INSERT INTO streaming_chat_accessedowner (record_id, owner_key) SELECT %s, value FROM "
_KEYS = {"sqlite": "json_each(%s)", "postgresql": "json_array_elements_text(%s::json)"}


def owner_key_of(conversation: uuid.UUID) -> str:
    """Return the owner key of a conversation; "" if it is erased or does not exist."""
    found = Conversation.objects.using(live_database()).filter(pk=conversation).values_list("owner_key", flat=True)
    return found.first() or ""


def add(record: AccessRecord, owner_keys: Iterable[str]) -> None:
    """Add the owners of what a record is about to it. The caller must show nothing if it raises DatabaseError."""
    keys = sorted({key for key in owner_keys if key})
    if not keys:
        return
    connection = connections[router.db_for_write(AccessRecord)]
    with connection.cursor() as cursor:
        cursor.execute(_ADD + _KEYS[connection.vendor], [record.pk, json.dumps(keys)])


def about(owner_keys: Sequence[str]) -> Q:
    """Return the condition of the access records that are about any of these owners."""
    named = AccessRecord.objects.filter(owner_key__in=owner_keys).order_by().values("pk")
    shown = AccessedOwner.objects.filter(owner_key__in=owner_keys).order_by().values("record")
    # A union: for two conditions with OR, the databases read all records.
    return Q(pk__in=named.union(shown, all=True))
