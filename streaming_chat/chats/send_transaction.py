"""The transaction of a send: it inserts a prepared reply, if what the preparation has read is still true.

It begins with a write to the conversation, which is its lock on both databases. No code of a site's own runs in it but the
quota's `reserve`: other requests wait for its locks. Everything that can be refused is refused before it or in it, before
the first byte and before the provider is called.
"""

from __future__ import annotations

from django.db.models import CharField, IntegerField, UUIDField
from django.db.models.functions import Now

from streaming_chat.db.hooks import SavedText, columns_on_change, texts_saved
from streaming_chat.db.statements import Argument, Query, Statement, create, insert, update
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import endings
from streaming_chat.quotas import get_quota

from .live_reply_limit import insert_live_reply
from .prepared_reply import PreparedReply, of_owner


class ConversationChanged(Exception):
    """Another request has changed the conversation since it was read: prepare the reply again."""


def insert_reply(prepared: PreparedReply, owner_key: str, worker: str, using: str) -> None:
    """Insert the rows of a reply, leased to `worker`. May be called again after a deadlock: the ids stay the same.

    Raises ConversationChanged, APIError 429 and 503, and IntegrityError if another request took the slot or the client_id.
    """
    reply, continuation = prepared.reply, prepared.continuation
    if prepared.conversation._state.adding:
        columns = {name: value for name, value in vars(prepared.conversation).items() if name != "_state"}
        create(Conversation, using, **columns)
    else:
        _update_conversation(prepared, owner_key, using)
    if continuation and Message.objects.using(using).exclude(redacted_at=None).filter(pk=continuation.message.pk):
        # Since it was read: what the reply takes over must not come back.
        raise ConversationChanged
    _insert_messages(prepared, using)
    insert_live_reply(reply, owner_key, worker, prepared.reserved, using)
    if continuation:
        insert(continuation.rows(reply), using)
    # Last: many requests share the quota's rows.
    if (quota := get_quota()) is not None:
        quota.reserve(prepared.reserved, using)


def _update_conversation(prepared: PreparedReply, owner_key: str, using: str) -> None:
    """Lock the conversation by writing what it will be, unless it has changed since it was read."""
    read, reply = prepared.conversation, prepared.reply
    is_same = _update.execute(
        using,
        read.head_id is not None,
        pk=read.pk,
        owner_key=owner_key,
        read_head=read.head_id,
        read_count=read.message_count,
        read_model=read.model,
        read_title=read.title,
        head=reply.pk,
        model=reply.model,
        message_count=read.message_count + len(prepared.added) + 1,
        title=prepared.title,
    )
    if not is_same:
        raise ConversationChanged


def _insert_messages(prepared: PreparedReply, using: str) -> None:
    insert([*prepared.added, prepared.reply], using)
    texts = [
        SavedText(message.conversation_id, message.pk, message.is_reply, message.text) for message in prepared.added
    ]
    texts_saved(texts, using)


@Statement
def _update(has_head: bool) -> Query:
    # Every send adds to the count and moves the head, so with these no message was added, and none is being written.
    unchanged = of_owner().filter(
        head=Argument("read_head", UUIDField()) if has_head else None,
        message_count=Argument("read_count", IntegerField()),
        model=Argument("read_model", CharField()),
        title=Argument("read_title", CharField()),
    )
    return update(
        unchanged,
        head=Argument("head", UUIDField()),
        model=Argument("model", CharField()),
        last_status=endings.STREAMING,
        last_activity=Now(),
        message_count=Argument("message_count", IntegerField()),
        title=Argument("title", CharField()),
        **columns_on_change(),
    )
