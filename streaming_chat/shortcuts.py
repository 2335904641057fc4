"""What a site's own code may call. These names stay here, whatever moves inside the app."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner, request_key
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.sending import send
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.engine.follower import FollowedReply, follower
from streaming_chat.engine.growing_output import growing_objects
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import ReplyStream
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from streaming_chat.outputs import output_of
from streaming_chat.protocol.storable_text import storable

if TYPE_CHECKING:
    from pydantic import BaseModel


def send_message(
    user: Any,
    text: str,
    *,
    conversation: Conversation | None = None,
    model: str = "",
    client_id: str = "",
    output: type[BaseModel] | None = None,
    wait: bool = False,
) -> Message:
    """Send a message for a user from the site's own views and tasks; return the reply, which is being written. Blocking.

    conversation: one of the user's, None for a new one. model: `alias:model`, "" for the default. client_id: as in the
    API, the same one again returns the same reply. output: the pydantic model that the reply must be an object of.
    wait: return once the reply has ended, also if another process writes it; with an output, the reply's `parsed` is then
    the object, unless it has an `output_error` or was not completed.

    The reply is written in this process, which must live until the end. Inside a transaction it starts with the commit, so
    that there is nothing to wait for. Limits, permissions and PROMPT apply as to a request of that user, which has
    `request.user` only. Raises ValueError for a text that is empty or too long, APIError as `send` does, and APIError 503
    if this process shuts down while it waits for another one.
    """
    text = _checked(text)
    using = live_database()
    if wait and connections[using].in_atomic_block:
        raise ValueError("a reply begins with the commit: inside a transaction there is nothing to wait for.")
    request, owner = _request_of(user)
    asked = output_of(output) if output else None
    body = {"content": text, "model": model, "client_id": client_id, **({"output": asked.name} if asked else {})}
    conversation_id = conversation.pk if conversation else None
    send_request = SendRequest.from_body(body, conversation_id=conversation_id, output=asked)
    sent = send(request, owner, send_request, writer.worker)
    if sent.order is not None:
        transaction.on_commit(partial(runner.start_in_background, sent.order), using=using)
    if wait:
        _wait_until_ended(sent.message_id, using)
    reply = Message.objects.using(using).get(pk=sent.message_id)
    if asked and reply.output is not None:
        reply.parsed = asked.parse(reply.text)
    return reply


def growing_output(reply: Message) -> Iterator[dict[str, Any]]:
    """Yield the object of a reply as it is written: the newest, whenever it has grown, until the reply has ended. Blocking.

    Every value is a prefix of the last one (see `protocol/json_objects.py`); none is validated. It needs the extra `output`.
    """
    return growing_objects(_followed(reply))


def _checked(text: str) -> str:
    text = storable(text)
    if not text.strip() or len(text) > conf.STREAMING_CHAT_MAX_MESSAGE_CHARS:
        raise ValueError(f"1 to {conf.STREAMING_CHAT_MAX_MESSAGE_CHARS} characters were wanted, got {len(text)}.")
    return text


def _request_of(user: Any) -> tuple[HttpRequest, Owner]:
    request = HttpRequest()
    request.user = user
    key = request_key(request)
    if not key:
        raise APIError(401, "not_signed_in")
    return request, Owner(user, key)


def _wait_until_ended(message_id: uuid.UUID, using: str) -> None:
    """Wait for a reply, whichever process writes it. Raises APIError if this process shuts down before the end."""
    if run := runner.find(message_id):
        run.ended.wait()
        return
    message = Message.objects.using(using).get(pk=message_id)
    if message.is_live and not _followed(message).wait_until_ended():
        raise APIError(503, "draining")


def _followed(message: Message) -> ReplyStream:
    """Return the stream of a reply, whichever process writes it."""
    if run := runner.find(message.pk):
        return run.stream
    followed = FollowedReply(Message.objects.using(live_database()).get(pk=message.pk))
    followed.stream.loop = runner.background_loop()
    return follower.share(followed).stream
