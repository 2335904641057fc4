"""Messages: list, read, send."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions, may_answer
from streaming_chat.chats import page_context
from streaming_chat.chats.idempotency import replies_sent
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.conf import conf
from streaming_chat.outputs import output_named
from streaming_chat.providers.model_options import EFFORTS

from . import lookups, message_pages, parsing
from .operations import SENDING, operation
from .replies import begin_reply, grace_seconds
from .reply_answers import ReplyAnswer, encoder_for
from .responses import Answer, api, require, require_found
from .serializers import serialize_message
from .streaming import streaming


@operation(query=message_pages.listed_fields, answers={200: "MessagePage"})
def list_messages(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """Messages of a conversation, a page at a time."""
    require(get_permissions().may_read(request, owner))
    return message_pages.listed(request, owner, lookups.find_conversation(owner, conversation_id))


@operation(answers={200: "Message"})
def get_message(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """One message, with live state."""
    require(get_permissions().may_read(request, owner))
    return serialize_message(lookups.find_message(owner, message_id), owner.key, partial(may_answer, request, owner))


def _sent_fields() -> parsing.Fields:
    return parsing.Fields({"client_id": parsing.client_id, "conversation": parsing.identifier}, ["client_id"])


@operation(query=_sent_fields, answers={200: "Message"}, errors=("not_found",))
def find_sent_reply(request: HttpRequest, owner: Owner) -> Answer:
    """The reply of a client_id, for a client that lost the connection before the stream named the reply."""
    require(get_permissions().may_read(request, owner))
    query = parsing.read_query(request, *_sent_fields())
    send_request = SendRequest(client_id=query["client_id"], conversation_id=query.get("conversation"))
    sent = replies_sent(request, owner, send_request).values_list("pk", flat=True)
    return serialize_message(
        lookups.find_reply(owner, require_found(sent.first())), owner.key, partial(may_answer, request, owner)
    )


def _message_fields() -> parsing.Fields:
    checks = {
        "content": parsing.message_text(),
        "parent": parsing.optional(parsing.identifier),
        "stream": parsing.boolean,
        **option_checks(),
    }
    return parsing.Fields(checks, ["content"])


@operation(
    body=_message_fields,
    headers=("Last-Event-ID",),
    answers={200: "Turn", 202: "Turn"},
    streams=True,
    errors=(*SENDING, "context_invalid", "context_expired"),
)
def send_message(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID | None = None) -> ReplyAnswer:
    """Send, in a conversation or a new one, and stream the reply."""
    parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_body(request, *_message_fields())
    send_request = SendRequest.from_body(body, conversation_id=conversation_id, **options_of(body, owner))
    return begin_reply(request, owner, send_request, stream=body.get("stream", True), encoder=encoder)


def option_checks() -> dict[str, parsing.Check]:
    """Return the checks of what a request may say about the reply that it asks for, in any format."""
    return {
        "client_id": parsing.client_id,
        "model": parsing.text(255, shortest=1),
        "effort": parsing.one_of(*EFFORTS),
        "output": parsing.one_of(*conf.STREAMING_CHAT_OUTPUTS),
        "disconnect": parsing.one_of("stop", "finish"),
        "context": parsing.text(page_context.MAX_SIGNED_CHARS, shortest=1),
    }


def options_of(body: dict[str, Any], owner: Owner) -> dict[str, Any]:
    """Return what the fields of `option_checks` ask for, beyond the texts that a SendRequest takes as they are."""
    return {
        "output": output_named(body["output"]) if "output" in body else None,
        "grace_seconds": grace_seconds(body.get("disconnect")),
        "page_context": page_context.read(body["context"], owner) if "context" in body else None,
    }


messages_view = streaming(GET=find_sent_reply, POST=send_message)
conversation_messages_view = streaming(GET=list_messages, POST=send_message)
message_view = api(GET=get_message)
