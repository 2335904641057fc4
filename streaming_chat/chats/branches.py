"""One branch of a conversation in SQL: from a message up to the root, down to the newest leaf, and sideways.

Each query reads only what it returns, whatever the length of the branch, except where it says otherwise. This module has
the app's recursive queries; SQLite and PostgreSQL run the same text.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import IntegerField, Subquery, TextField, UUIDField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Length

from streaming_chat.db.rows import stored_rows
from streaming_chat.db.statements import Argument, Query, Statement
from streaming_chat.models import Conversation, Message

from .tree import Siblings, Tree, messages_of

# A page ends after so many messages, or after so many code points of text and of parts as JSON; it has one in any case.
PAGE_MESSAGES = 50
PAGE_CHARS = 1_000_000
SIZE = Length("text") + Length(Cast("parts", TextField()))

_TEXT_SIZE = "LENGTH(message.{text})"
# SIZE in this module's own SQL.
_PARTS_SIZE = "LENGTH(CAST(message.{parts} AS text))"
_FULL_SIZE = f"{_TEXT_SIZE} + {_PARTS_SIZE}"
_NEEDED_SIZE = f"{_TEXT_SIZE} + CASE WHEN message.{{has_more_than_text}} THEN {_PARTS_SIZE} ELSE 0 END"
# Walks up from a leaf, one message at a time, until a limit is reached. It also ends if the messages form a circle.
_UP = """
WITH RECURSIVE branch (id, parent, place, size) AS (
    SELECT message.{id}, message.{parent}, 1, {size}
    FROM {table} message WHERE message.{id} = %s AND message.{conversation} = %s
    UNION ALL
    SELECT message.{id}, message.{parent}, branch.place + 1, branch.size + {size}
    FROM branch JOIN {table} message ON message.{id} = branch.parent AND message.{conversation} = %s
    WHERE branch.place < %s AND branch.size + {size} <= %s
)
SELECT id FROM branch
"""
# UNION without ALL also ends if the messages form a circle.
_CONTAINS = """
WITH RECURSIVE branch (id, parent) AS (
    SELECT message.{id}, message.{parent} FROM {table} message WHERE message.{id} = %s
    UNION
    SELECT message.{id}, message.{parent} FROM branch JOIN {table} message ON message.{id} = branch.parent
    WHERE branch.id <> %s
)
SELECT COUNT(*) FROM branch WHERE id = %s
"""
_DOWN = """
WITH RECURSIVE branch (id) AS (
    SELECT message.{id} FROM {table} message WHERE message.{id} = %s
    UNION
    SELECT (
        SELECT message.{id} FROM {table} message
        WHERE message.{parent} = branch.id AND message.{conversation} = %s
        ORDER BY message.{created_at} DESC, message.{id} DESC LIMIT 1
    )
    FROM branch WHERE branch.id IS NOT NULL
)
SELECT id FROM branch
WHERE id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {table} message WHERE message.{parent} = branch.id)
"""
_SIBLINGS = """
SELECT id, place, number, previous, next FROM (
    SELECT
        message.{id} AS id,
        ROW_NUMBER() OVER in_order AS place,
        COUNT(*) OVER (PARTITION BY message.{parent}) AS number,
        LAG(message.{id}) OVER in_order AS previous,
        LEAD(message.{id}) OVER in_order AS next
    FROM {table} message WHERE {of_parents}
    WINDOW in_order AS (PARTITION BY message.{parent} ORDER BY message.{created_at}, message.{id})
) siblings WHERE id IN ({ids})
"""


class Page(NamedTuple):
    """Some messages in order. following: the message before or after which the next page is, None for the last page."""

    messages: list[Message]
    following: uuid.UUID | None


def branch(
    conversation: Conversation,
    leaf: uuid.UUID | None,
    *,
    most: int = PAGE_MESSAGES,
    max_chars: int = PAGE_CHARS,
    without: Collection[str] = (),
) -> list[Message]:
    """Return the end of the branch that ends with `leaf`, oldest first, in one query; none for an unknown leaf.

    most: messages. max_chars: code points of all texts together, and of the parts as JSON, if these are loaded or belong to
    a message with more than text; the leaf is returned in any case. without: columns that are not loaded.
    """
    if leaf is None:
        return []
    using = _database(conversation)
    names = tuple(field.attname for field in Message._meta.concrete_fields if field.name not in without)
    rows = _branch.rows(using, names, leaf=leaf, conversation=conversation.pk, most=most, max_chars=max_chars)
    return _in_order(stored_rows(Message, using, names, rows), leaf)


@Statement
def _branch(names: tuple[str, ...]) -> Query:
    size = (_FULL_SIZE if "parts" in names else _NEEDED_SIZE).format(**_NAMES)
    conversation = Argument("conversation", UUIDField())
    limits = (Argument("most", IntegerField()), Argument("max_chars", IntegerField()))
    parameters = (Argument("leaf", UUIDField()), conversation, conversation, *limits)
    ids = RawSQL(_sql(_UP, size=size), parameters)  # noqa: S611  (names and places)
    return Message.objects.filter(pk__in=ids).order_by().values_list(*names)


def branch_page(conversation: Conversation, *, before: uuid.UUID | None = None, most: int = PAGE_MESSAGES) -> Page:
    """Return the newest messages of the branch in view or, of any branch, those before a message of it.

    Raises Message.DoesNotExist if that is no message of the conversation.
    """
    leaf = conversation.head_id
    if before is not None:
        leaf = messages_of(conversation).values_list("parent_id", flat=True).get(pk=before)
    messages = branch(conversation, leaf, most=most)
    return Page(messages, messages[0].pk if messages and messages[0].parent_id else None)


def whole_branch(conversation: Conversation) -> Iterator[list[Message]]:
    """Yield the branch in view in pages, from its first message on. Reads the ids of the whole tree."""
    links = messages_of(conversation).order_by("created_at", "id").values_list("pk", "parent_id")
    left = Tree(links).path_to(conversation.head_id)
    while left:
        sizes = dict(messages_of(conversation).filter(pk__in=left[:PAGE_MESSAGES]).values_list("pk", SIZE))
        ids = fitting((pk, sizes[pk]) for pk in left[:PAGE_MESSAGES] if pk in sizes)
        found = messages_of(conversation).in_bulk(ids)
        yield [found[pk] for pk in ids if pk in found]
        left = left[left.index(ids[-1]) + 1 if ids else PAGE_MESSAGES :]


def tree_pages(conversation: Conversation) -> Iterator[list[Message]]:
    """Yield the messages of all branches in pages, from the oldest on."""
    after: uuid.UUID | None = None
    while True:
        try:
            page = tree_page(conversation, after=after)
        except Message.DoesNotExist:
            # The site has deleted it in between.
            return
        yield page.messages
        if (after := page.following) is None:
            return


def tree_page(conversation: Conversation, *, after: uuid.UUID | None = None, most: int = PAGE_MESSAGES) -> Page:
    """Return the oldest messages of all branches, or those after a message. Raises the same error."""
    rows = messages_of(conversation).order_by("created_at", "id")
    if after is not None:
        message = messages_of(conversation).only("pk").get(pk=after)
        # Not as a parameter: SQLite compares times as text, and Now() writes three decimals where a parameter has six.
        moment = Subquery(messages_of(conversation).filter(pk=message.pk).values("created_at")[:1])
        rows = rows.filter(created_at__gte=moment).exclude(created_at=moment, pk__lte=after)
    sizes = list(rows.values_list("pk", SIZE)[: most + 1])
    ids = fitting(sizes[:most])
    found = messages_of(conversation).in_bulk(ids)
    return Page([found[pk] for pk in ids if pk in found], ids[-1] if len(ids) < len(sizes) else None)


def newest_leaf(conversation: Conversation, message: uuid.UUID) -> uuid.UUID:
    """Return the end of the newest branch through a message of the conversation: at each fork, the newest message."""
    using = _database(conversation)
    rows = _rows(using, _sql(_DOWN), _to_database(using, [message, conversation.pk]))
    return _uuid(rows[0][0]) if rows else message


def is_in_view(conversation: Conversation, message: uuid.UUID) -> bool:
    """Return whether a message is on the branch in view. Follows the branch from its end to the message."""
    if conversation.head_id is None:
        return False
    using = _database(conversation)
    head, key = _to_database(using, [conversation.head_id, message])
    return bool(_rows(using, _sql(_CONTAINS), [head, key, key])[0][0])


def siblings_of(messages: Sequence[Message]) -> dict[uuid.UUID, Siblings]:
    """Return where messages of one conversation stand among those after the same message, in one query.

    It counts their siblings in an index, and returns one row for each of the messages.
    """
    if not messages:
        return {}
    using = _database(messages[0])
    parents = _to_database(using, {message.parent_id for message in messages if message.parent_id})
    conversations = _to_database(using, {message.conversation_id for message in messages if not message.parent_id})
    ids = _to_database(using, [message.pk for message in messages])
    of_parents = [_sql("message.{parent} IN ({places})", places=_places(parents))] * bool(parents)
    of_parents += [_sql("(message.{parent} IS NULL AND message.{conversation} = %s)")] * bool(conversations)
    sql = _sql(_SIBLINGS, of_parents=" OR ".join(of_parents), ids=_places(ids))
    return {
        _uuid(pk): Siblings(index, count, previous and _uuid(previous), following and _uuid(following))
        for pk, index, count, previous, following in _rows(using, sql, [*parents, *conversations, *ids])
    }


def _in_order(messages: Iterable[Message], leaf: uuid.UUID | None) -> list[Message]:
    """Return messages of one branch from the first to the leaf."""
    left = {message.id: message for message in messages}
    found = []
    while leaf in left:
        message = left.pop(leaf)
        found.append(message)
        leaf = message.parent_id
    return found[::-1]


def fitting(sizes: Iterable[tuple[uuid.UUID, int]]) -> list[uuid.UUID]:
    """Return as many ids as have PAGE_CHARS together, the first in any case."""
    ids: list[uuid.UUID] = []
    left = PAGE_CHARS
    for pk, size in sizes:
        left -= size
        if left < 0 and ids:
            break
        ids.append(pk)
    return ids


# The tables' own names, and values as the database has them.


_COLUMNS = {field.name: f'"{field.column}"' for field in Message._meta.concrete_fields}
_NAMES = {"table": f'"{Message._meta.db_table}"', **_COLUMNS}


def _sql(text: str, **parts: str) -> str:
    return text.format(**_NAMES, **parts)


def _places(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def _database(row: Conversation | Message) -> str:
    """Return the database that a row came from: a replica may not have the others yet."""
    return str(row._state.db)


def _to_database(using: str, ids: Iterable[uuid.UUID]) -> list[Any]:
    return [Message._meta.pk.get_db_prep_value(value, connections[using]) for value in ids]


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _rows(using: str, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
