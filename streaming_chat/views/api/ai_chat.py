"""The addresses that the AI SDK's `useChat` asks for, with their errors as text, which it shows.

A chat has an id that its client has chosen. It is unique for its owner only: two owners may choose the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats.branches import PAGE_MESSAGES, branch_page
from streaming_chat.chats.chat_ids import find_chat
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.tree import messages_of
from streaming_chat.encoders.ai_sdk import AISDKEncoder
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message

from . import client_answers, parsing, ui_messages
from .lookups import find_reply
from .messages import option_checks, options_of
from .operations import operation
from .replies import answer_with_existing, begin_reply, output_of, stop_reply
from .reply_answers import ReplyAnswer
from .responses import Answer, private, require, require_found, text_error_response
from .streaming import streaming, waiting
from .ui_serializers import serialize_ui_page

_FIRST_SDK = 5


def _failures(*statuses: int) -> dict[int, str]:
    return dict.fromkeys(statuses, "text/plain")


def _chat_fields() -> parsing.Fields:
    return parsing.Fields({**ui_messages.checks(), **option_checks()})


def _sdk_fields() -> parsing.Fields:
    return parsing.Fields({"sdk": _sdk})


def _page_fields() -> parsing.Fields:
    checks = {"before": parsing.identifier, "limit": parsing.page_limit(PAGE_MESSAGES)}
    return parsing.Fields({**checks, **_sdk_fields().checks})


@operation(
    body=_chat_fields,
    query=_sdk_fields,
    headers=("Last-Event-ID",),
    answers={200: "text/event-stream"},
    failures=_failures(401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
    ignores_unknown=True,
)
def send(request: HttpRequest, owner: Owner) -> ReplyAnswer:
    """Answer the last message of a chat, or answer it again, and stream the reply. Or answer tool calls of a reply."""
    parsing.require_json(request)
    encoding = _encoding(request)
    body = parsing.read_body(request, *_chat_fields(), ignores_unknown=True)
    chat_id = body.get("id") or body.get("threadId")
    if not chat_id:
        raise APIError(422, "invalid", fields={"id": "This field is required."})
    conversation = find_chat(owner, chat_id)
    if conversation and (message := ui_messages.answered_message(body)):
        return _answer_calls(request, owner, conversation, message, encoding)
    turn = ui_messages.Turn.of(body)
    options = options_of(body, owner)
    place = turn.place(conversation) if conversation else {}
    if regenerated := place.get("regenerate"):
        options["output"] = output_of(find_reply(owner, regenerated))
    send_request = SendRequest.from_body(
        body,
        content="" if regenerated else turn.text,
        conversation_id=conversation and conversation.pk,
        chat_id=chat_id,
        body={"content": turn.text, "model": body.get("model", ""), "effort": body.get("effort", "")},
        **place,
        **options,
    )
    return begin_reply(request, owner, send_request, **encoding)


@operation(
    query=_page_fields,
    answers={200: "UIMessagePage"},
    failures=_failures(401, 403, 404, 422, 429, 500, 503),
)
def load(request: HttpRequest, owner: Owner, chat_id: str) -> Answer:
    """The messages of a chat that have ended, on the branch in view, as `useChat` has them."""
    require(get_permissions().may_read(request, owner))
    query = parsing.read_query(request, *_page_fields())
    conversation = require_found(find_chat(owner, chat_id))
    try:
        page = branch_page(conversation, before=query.get("before"), most=query.get("limit", PAGE_MESSAGES))
    except Message.DoesNotExist:
        raise APIError(422, "invalid", fields={"before": "Must be a message of this chat."}) from None
    return serialize_ui_page(page, sdk=query.get("sdk", _FIRST_SDK))


@operation(
    query=_sdk_fields,
    answers={200: "text/event-stream", 204: None},
    failures=_failures(401, 403, 422, 429, 500, 503),
)
def follow(request: HttpRequest, owner: Owner, chat_id: str) -> ReplyAnswer | HttpResponse:
    """The stream of the reply that is being written in a chat, from its beginning; 204 if there is none."""
    require(get_permissions().may_read(request, owner))
    encoding = _encoding(request)
    if reply := _live_reply(owner, chat_id):
        return answer_with_existing(request, owner, reply, **encoding)
    # Also for an unknown chat: `useChat` asks for each chat that it opens, and for a new one before its first message.
    return private(HttpResponse(status=204))


@operation(
    body=parsing.no_fields,
    answers={200: "Message", 202: "Message", 204: None},
    failures=_failures(401, 403, 404, 408, 413, 415, 422, 429, 500, 503),
)
def stop(request: HttpRequest, owner: Owner, chat_id: str) -> ReplyAnswer | HttpResponse:
    """End the reply that is being written in a chat, and wait for the ending; 204 if there is none."""
    parsing.read_body(request, *parsing.no_fields())
    if reply := _live_reply(owner, chat_id):
        return stop_reply(request, owner, reply)
    require_found(find_chat(owner, chat_id))
    return private(HttpResponse(status=204))


def _answer_calls(
    request: HttpRequest, owner: Owner, conversation: Conversation, message: dict[str, Any], encoding: dict[str, Any]
) -> ReplyAnswer:
    """Take the answers to tool calls in a message of ours, and return what follows in it. Raises APIError."""
    reply = ui_messages.reply_of(conversation, message.get("id"))
    given = client_answers.find_answers(reply, partial(ui_messages.answer_in, message)) if reply else None
    if reply is None or given is None:
        raise APIError(
            422, "invalid", fields={"messages": "The last message must have the role user, or answer tool calls."}
        )
    options = {**encoding["encoder_options"], "continues": True}
    return client_answers.go_on(
        request, owner, reply, given, field="messages", encoder=encoding["encoder"], encoder_options=options
    )


def _encoding(request: HttpRequest) -> dict[str, Any]:
    """Return how the stream is written. `?sdk=6`: the client is of that version of the package `ai`, or of a later one."""
    sdk = parsing.read_query(request, *_sdk_fields()).get("sdk", _FIRST_SDK)
    return {"encoder": AISDKEncoder, "encoder_options": {"sdk": sdk}}


@parsing.check(type="integer", minimum=_FIRST_SDK, maximum=999)
def _sdk(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 3 and int(value) >= _FIRST_SDK):
        raise ValueError(f"Must be a version of the AI SDK, {_FIRST_SDK} or later.")
    return int(value)


def _live_reply(owner: Owner, chat_id: str) -> Message | None:
    if (conversation := find_chat(owner, chat_id)) is None:
        return None
    return messages_of(conversation).select_related("conversation").filter(live__isnull=False).first()


send_view = streaming(respond_to_error=text_error_response, POST=send)
messages_view = streaming(respond_to_error=text_error_response, GET=load)
stream_view = streaming(respond_to_error=text_error_response, GET=follow)
stop_view = waiting(respond_to_error=text_error_response, POST=stop)
