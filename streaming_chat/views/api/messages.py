"""Messages: send, follow, stop, regenerate, judge."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats.sending import SendRequest, made_by, send
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import columns_on_change
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Feedback, LiveReply, Message
from streaming_chat.providers.base import Turn

from . import parsing
from .responses import Answer, api, private, require, require_found
from .serializers import serialize_conversation, serialize_message, serialize_messages
from .streaming import Prepared, encoder_for, prepare_reply, require_reader_slot, streaming

_STOP_SECONDS = 5.0
# Closing the connection is the only way in which a client of `api/chat` can stop its reply.
_STATELESS_GRACE_SECONDS = 0.0


def find_message(owner: Owner, message_id: uuid.UUID) -> Message:
    """Return a message of the owner's. Raises APIError: 404 for an unknown id and a foreign one alike."""
    messages = Message.objects.using(live_database()).select_related("conversation")
    return require_found(messages.for_owner(owner.key).filter(pk=message_id).first())


def find_reply(owner: Owner, message_id: uuid.UUID) -> Message:
    """Return a reply of the owner's. Raises APIError: 404."""
    message = find_message(owner, message_id)
    return require_found(message if message.is_reply else None)


def list_messages(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """All messages of a conversation, as a tree."""
    require(get_permissions().may_read(request, owner))
    using = live_database()
    conversations = Conversation.objects.using(using).for_owner(owner.key)
    conversation = require_found(conversations.filter(pk=conversation_id).first())
    messages = Message.objects.using(using).filter(conversation_id=conversation.pk)
    return {"results": serialize_messages(messages.order_by("created_at", "id"), owner.key)}


def get_message(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """One message, with live state."""
    require(get_permissions().may_read(request, owner))
    return serialize_message(find_message(owner, message_id), owner.key)


def get_sent(request: HttpRequest, owner: Owner) -> Answer:
    """The reply that a client_id has made, for a client to which the stream that names it has not come."""
    require(get_permissions().may_read(request, owner))
    checks: dict[str, parsing.Check] = {"client_id": parsing.client_id, "conversation": parsing.identifier}
    asked = parsing.read_query(request, checks, required=["client_id"])
    outgoing = SendRequest(client_id=asked["client_id"], conversation_id=asked.get("conversation"))
    made = made_by(request, owner, outgoing).values_list("pk", flat=True)
    return serialize_message(find_reply(owner, require_found(made.first())), owner.key)


def send_message(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID | None = None) -> Prepared:
    """Send, in a conversation or a new one, and stream the reply."""
    checks: dict[str, parsing.Check] = {
        "content": parsing.message_text(),
        "client_id": parsing.client_id,
        "model": parsing.text(255, shortest=1),
        "parent": parsing.optional(parsing.identifier),
        "stream": parsing.boolean,
        "disconnect": parsing.one_of("stop", "finish"),
    }
    parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_body(request, checks, required=["content"])
    named = {"parent": body["parent"]} if "parent" in body else {}
    outgoing = SendRequest(
        content=body["content"],
        model=body.get("model", ""),
        conversation_id=conversation_id,
        client_id=body.get("client_id", ""),
        body={key: str(value) for key, value in body.items()},
        grace_seconds=_grace(body.get("disconnect")),
        **named,
    )
    return begin_reply(request, owner, outgoing, stream=body.get("stream", True), encoder=encoder)


def regenerate(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Prepared:
    """Write a reply again, as its sibling."""
    checks: dict[str, parsing.Check] = {
        "client_id": parsing.client_id,
        "model": parsing.text(255, shortest=1),
        "stream": parsing.boolean,
        "disconnect": parsing.one_of("stop", "finish"),
    }
    if parsing.has_body(request):
        parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_optional_body(request, checks)
    reply = find_reply(owner, message_id)
    outgoing = SendRequest(
        regenerate=reply.pk,
        model=body.get("model", ""),
        conversation_id=reply.conversation_id,
        client_id=body.get("client_id", ""),
        body=body,
        grace_seconds=_grace(body.get("disconnect")),
    )
    return begin_reply(request, owner, outgoing, stream=body.get("stream", True), encoder=encoder)


def stateless_chat(request: HttpRequest, owner: Owner) -> Prepared:
    """Answer the history that a client sends, and save it as a conversation of its own."""
    checks: dict[str, parsing.Check] = {
        "messages": _turns,
        "model": parsing.text(255, shortest=1),
        "client_id": parsing.client_id,
    }
    parsing.require_json(request)
    encoder = encoder_for(request)
    body = parsing.read_body(request, checks, required=["messages"])
    turns: list[Turn] = body["messages"]
    outgoing = SendRequest(
        content=turns[-1].text,
        earlier=turns[:-1],
        model=body.get("model", ""),
        client_id=body.get("client_id", ""),
        body={"messages": [list(turn) for turn in turns], "model": body.get("model", "")},
        stateless=True,
        grace_seconds=_STATELESS_GRACE_SECONDS,
    )
    return begin_reply(request, owner, outgoing, encoder=encoder)


def begin_reply(
    request: HttpRequest, owner: Owner, outgoing: SendRequest, *, stream: bool = True, **options: Any
) -> Prepared:
    """Make the rows, or find them by client_id, and return what to open."""
    require_reader_slot()
    sent = send(request, owner, outgoing, writer.worker)
    position = 0 if sent.order else _resumed_position(request, sent.message_id)
    finish = None if stream else partial(_whole, owner, sent.message_id)
    return prepare_reply(sent.message_id, sent.order, position=position, finish=finish, **options)


def follow(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Prepared | HttpResponse:
    """A reply's stream from a position, while it is written and after."""
    require(get_permissions().may_read(request, owner))
    encoder = encoder_for(request)
    position = position_of(request.headers.get("Last-Event-ID") or request.GET.get("after", ""), message_id)
    reply = find_reply(owner, message_id)
    if position is None:
        # How EventSource is told to stop.
        return private(HttpResponse(status=204))
    if request.method == "HEAD":
        return HttpResponse(content_type=encoder.content_type)
    require_reader_slot()
    return prepare_reply(reply.pk, None, position=position, encoder=encoder)


def stop(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Prepared | HttpResponse:
    """End a reply, and wait for the ending."""
    checks = {"position": parsing.optional(lambda value: _stop_position(value, message_id))}
    body = parsing.read_optional_body(request, checks)
    reply = find_reply(owner, message_id)
    require(get_permissions().may_stop(request, owner, reply.conversation))
    if not reply.is_live:
        return private(JsonResponse(serialize_message(reply, owner.key)))
    position = body.get("position")
    run = runner.find(reply.pk)
    if run is not None:
        run.request_stop("user", position)
    else:
        live = LiveReply.objects.using(live_database()).filter(pk=reply.pk)
        write_transaction(partial(live.request_stop, "user", position))

    def finish(ended: bool) -> HttpResponse:
        shape = serialize_message(find_reply(owner, message_id), owner.key)
        return private(JsonResponse(shape, status=200 if ended else 202))

    return prepare_reply(reply.pk, None, finish=finish, seconds=_STOP_SECONDS)


def put_feedback(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """Say what one thinks of a reply."""
    checks = {"value": parsing.one_of(1, -1), "comment": parsing.text(4000)}
    body = parsing.read_body(request, checks, required=["value"])
    reply = find_reply(owner, message_id)
    columns = {"value": body["value"], "comment": body.get("comment", ""), "by": owner.user, "updated_at": Now()}
    write_transaction(partial(_save_feedback, reply, owner, columns))
    return serialize_message(reply, owner.key)


def delete_feedback(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """Take it back."""
    reply = find_reply(owner, message_id)
    write_transaction(Feedback.objects.filter(message=reply, owner_key=owner.key).delete)
    return HttpResponse(status=204)


def _save_feedback(reply: Message, owner: Owner, columns: dict[str, Any]) -> None:
    if columns["value"] < 0:
        # First, since it is the lock. The conversation needs attention, even if its review was done.
        conversations = Conversation.objects.using(live_database()).filter(pk=reply.conversation_id)
        conversations.update(**columns_on_change(went_wrong=True))
    Feedback.objects.using(live_database()).update_or_create(message=reply, owner_key=owner.key, defaults=columns)


def position_of(event_id: str, message_id: uuid.UUID) -> int | None:
    """Return the position that an event's id names, or its number alone; None for the ending, 0 for "".

    Raises APIError: 422 for a malformed id and one of another message.
    """
    if not event_id:
        return 0
    head, slash, number = event_id.rpartition("/")
    if slash and head != str(message_id):
        raise APIError(422, "invalid", fields={"position": f"an id of message {message_id} was wanted."})
    if number == "end":
        return None
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise APIError(422, "invalid", fields={"position": "an id <message>/<number> was wanted."})
    return int(number)


def _resumed_position(request: HttpRequest, message_id: uuid.UUID) -> int:
    """Return where a repeated send goes on: where the client was, or from the beginning."""
    event_id = request.headers.get("Last-Event-ID", "")
    if not event_id.startswith(f"{message_id}/"):
        return 0
    return position_of(event_id, message_id) or 0


def _stop_position(value: Any, message_id: uuid.UUID) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise APIError(422, "invalid", fields={"position": "an event's id or its number was wanted."})
    return position_of(str(value), message_id)


def _grace(policy: str | None) -> float | None:
    """Return how long a reply goes on alone; a client may always ask for less than the site, never for more."""
    return 0 if policy == "stop" else conf.STREAMING_CHAT_DISCONNECT_GRACE_SECONDS


def _turns(value: Any) -> list[Turn]:
    if not isinstance(value, list) or not value:
        raise ValueError("a list of {role, content} was wanted.")
    check = parsing.message_text()
    turns = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"role", "content"}:
            raise ValueError("each was wanted to have role and content, and nothing else.")
        if item["role"] not in ("user", "assistant"):
            raise ValueError("role was wanted to be user or assistant.")
        turns.append(Turn(item["role"], check(item["content"])))
    if turns[-1].role != "user":
        raise ValueError("the last was wanted to be of role user.")
    return turns


def _whole(owner: Owner, message_id: uuid.UUID, ended: bool) -> HttpResponse:
    """Answer with a reply at its ending; as it is, where the server may not wait for that (a single-threaded worker)."""
    reply = find_reply(owner, message_id)
    user_message = find_message(owner, reply.parent_id) if reply.parent_id else None
    return private(
        JsonResponse(
            {
                "conversation": serialize_conversation(reply.conversation),
                "user_message": user_message and serialize_message(user_message, owner.key),
                "message": serialize_message(reply, owner.key),
            },
            status=200 if ended else 202,
        )
    )


messages_view = streaming(GET=get_sent, POST=send_message)
conversation_messages_view = streaming(GET=list_messages, POST=send_message)
message_view = api(GET=get_message)
events_view = streaming(GET=follow)
stop_view = streaming(POST=stop)
regenerate_view = streaming(POST=regenerate)
feedback_view = api(PUT=put_feedback, DELETE=delete_feedback)
chat_view = streaming(POST=stateless_chat)
