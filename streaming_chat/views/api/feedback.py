"""Feedback: what the owner of a conversation thinks of a reply."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import may_answer
from streaming_chat.alerts import outbox
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import columns_on_change
from streaming_chat.db.transactions import write_transaction
from streaming_chat.models import Conversation, Feedback, Message

from . import parsing
from .lookups import find_reply
from .operations import operation
from .responses import Answer, api
from .serializers import serialize_message


def _feedback_fields() -> parsing.Fields:
    return parsing.Fields({"value": parsing.one_of(1, -1), "comment": parsing.text(4000)}, ["value"])


@operation(body=_feedback_fields, answers={200: "Message"})
def put_feedback(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """Save a value, good or bad, and a comment."""
    body = parsing.read_body(request, *_feedback_fields())
    reply = find_reply(owner, message_id)
    columns = {"value": body["value"], "comment": body.get("comment", ""), "by": owner.user, "updated_at": Now()}
    write_transaction(partial(_save, reply, owner, columns))
    return serialize_message(reply, owner.key, partial(may_answer, request, owner))


@operation(answers={204: None})
def delete_feedback(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """Delete it."""
    reply = find_reply(owner, message_id)
    feedback = Feedback.objects.using(live_database()).filter(message=reply, owner_key=owner.key)
    write_transaction(feedback.delete)
    return HttpResponse(status=204)


def _save(reply: Message, owner: Owner, columns: dict[str, Any]) -> None:
    if columns["value"] < 0:
        # First, since it is the lock. The conversation is to be reviewed again, even if its review was done.
        conversations = Conversation.objects.using(live_database()).filter(pk=reply.conversation_id)
        needs_attention = "rated_bad" in conf.STREAMING_CHAT_REVIEW_REASONS
        conversations.update(**columns_on_change(needs_attention=needs_attention))
    feedback = Feedback(message=reply, owner_key=owner.key, **columns)
    # One statement: a SQLite transaction that reads before it writes fails if another has written in between.
    Feedback.objects.using(live_database()).bulk_create(
        [feedback], update_conflicts=True, unique_fields=["message", "owner_key"], update_fields=list(columns)
    )
    if columns["value"] < 0:
        outbox.reply_rated_bad(reply.pk, reply.conversation_id)


feedback_view = api(PUT=put_feedback, DELETE=delete_feedback)
