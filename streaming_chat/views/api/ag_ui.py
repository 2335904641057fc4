"""AG-UI: a client sends a RunAgentInput, and gets the events of one run.

The client chooses the id of the thread, which is a conversation of its owner, and sends all of its messages. The history is
ours: only the text of the last message is taken, which is the user's. Tools, state and context of the client are ignored.

A run that resumes from interrupts, or whose last messages have the role tool, goes on with the reply that waits for them.

Source: https://docs.ag-ui.com/spec/1.0/basic/run-input and https://docs.ag-ui.com/concepts/interrupts
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.chats.chat_ids import find_chat
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.encoders.ag_ui import STEP_SEPARATOR, AGUIEncoder
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation

from . import client_answers, parsing, ui_messages
from .messages import option_checks, options_of
from .operations import SENDING, operation
from .replies import begin_reply
from .reply_answers import ReplyAnswer
from .streaming import streaming

_MAX_RUN_ID = 256
# What the native API calls what a client answers to an interrupt.
_ANSWER = {"editedArgs": "arguments"}


def _input_fields() -> parsing.Fields:
    checks = {
        "threadId": ui_messages.checks()["threadId"],
        "runId": parsing.text(_MAX_RUN_ID, shortest=1),
        "messages": ui_messages.checks()["messages"],
        "forwardedProps": _asked,
        "resume": _resume,
    }
    return parsing.Fields(checks, ["threadId", "runId", "messages"])


@operation(
    body=_input_fields,
    ignores_unknown=True,
    answers={200: "text/event-stream"},
    errors=(
        *SENDING,
        *("context_invalid", "context_expired", "already_answered", "not_waiting", "too_many_streams", "full"),
    ),
)
def run_agent(request: HttpRequest, owner: Owner) -> ReplyAnswer:
    """Answer the last message of a thread, or go on with a reply that waits. The same `runId` again is the same run."""
    parsing.require_json(request)
    body = parsing.read_body(request, *_input_fields(), ignores_unknown=True)
    thread_id, run_id, asked = body["threadId"], body["runId"], body.get("forwardedProps", {})
    options = {"thread_id": thread_id, "run_id": run_id}
    conversation = find_chat(owner, thread_id)
    if body.get("resume") or body["messages"][-1].get("role") == "tool":
        return _go_on(request, owner, conversation, body, {**options, "continues": True})
    turn = ui_messages.Turn.of({"messages": [*map(_with_reply_id, body["messages"])]})
    send_request = SendRequest.from_body(
        asked,
        content=turn.text,
        chat_id=thread_id,
        conversation_id=conversation and conversation.pk,
        client_id=hashlib.sha256(run_id.encode()).hexdigest(),
        body={"content": turn.text, **asked},
        **(turn.place(conversation) if conversation else {}),
        **options_of(asked, owner),
    )
    return begin_reply(request, owner, send_request, encoder=AGUIEncoder, encoder_options=options)


@parsing.check()
def _asked(value: Any) -> dict[str, Any]:
    """Return what a client asks for beyond the protocol, such as `model` and `effort`, by the names of `api/messages`."""
    if not isinstance(value, dict):
        return {}
    checks = {name: check for name, check in option_checks().items() if name != "client_id"}
    return {name: check(value[name]) for name, check in checks.items() if name in value}


def _go_on(
    request: HttpRequest,
    owner: Owner,
    conversation: Conversation | None,
    body: dict[str, Any],
    encoder_options: dict[str, Any],
) -> ReplyAnswer:
    """Take the answers to interrupts, or the results of the client's tools, and return what follows. Raises APIError."""
    resume, messages = body.get("resume", {}), body["messages"]
    field = "resume" if resume else "messages"
    reply_id = next(iter(resume), "").partition("/")[0] if resume else _last_reply_id(messages)
    reply = ui_messages.reply_of(conversation, reply_id) if conversation else None
    answer_to = partial(_answer_in, resume, reply_id) if resume else partial(_result_in, messages)
    given = client_answers.find_answers(reply, answer_to) if reply else None
    if reply is None or given is None:
        raise APIError(422, "invalid", fields={field: "Must answer calls of a reply in this thread."})
    if resume and not len(resume) == len(given.answers) == len(given.asked):
        raise APIError(422, "invalid", fields={"resume": "Must answer all interrupts of the run, and no others."})
    if resume and messages[-1].get("role") == "user" and reply.is_live:
        raise APIError(422, "invalid", fields={"messages": "Answer the interrupts before you send another message."})
    # A client would have its own results twice.
    sent = [] if resume else [answer["call"] for answer in given.answers]
    options = {**encoder_options, "has_results": sent}
    return client_answers.go_on(request, owner, reply, given, field=field, encoder=AGUIEncoder, encoder_options=options)


def _answer_in(resume: dict[str, dict[str, Any]], reply_id: str, call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a call among the entries of `resume`, as the native API takes it; None without one."""
    if (entry := resume.get(f"{reply_id}/{call['id']}")) is None:
        return None
    payload = entry.get("payload")
    if entry["status"] == "cancelled":
        return {"call": call["id"], "approved": False}
    said: dict[str, Any] = payload if isinstance(payload, dict) else {}
    return {**{_ANSWER.get(name, name): value for name, value in said.items()}, "call": call["id"]}


def _result_in(messages: list[dict[str, Any]], call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a client's tool has returned, from the messages at the end of the thread; None if there is nothing."""
    if call["runs"] != "client":
        return None
    for message in reversed(messages):
        if message.get("role") != "tool":
            return None
        if message.get("toolCallId") == call["id"]:
            content = _text_of(message.get("content"))
            output = {"error": message["error"], "content": content} if message.get("error") else content
            return {"call": call["id"], "output": output}
    return None


def _text_of(content: Any) -> Any:
    """Return the text of content that may be in parts; content with other parts as it is."""
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "".join(texts) if texts and len(texts) == len(parts) else content


def _last_reply_id(messages: list[dict[str, Any]]) -> str:
    ids = (message.get("id") for message in reversed(messages) if message.get("role") == "assistant")
    return str(next(ids, "")).partition(STEP_SEPARATOR)[0]


def _with_reply_id(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message under the id of its reply, which has one message for each step."""
    message_id = message.get("id")
    return {**message, "id": message_id.partition(STEP_SEPARATOR)[0]} if isinstance(message_id, str) else message


_ENTRY = {
    "type": "object",
    "properties": {
        "interruptId": {"type": "string", "minLength": 1},
        "status": {"enum": ["resolved", "cancelled"]},
        "payload": {},
        "metadata": {"type": "object"},
    },
    "required": ["interruptId", "status"],
}


@parsing.check(type="array", items=_ENTRY)
def _resume(value: Any) -> dict[str, dict[str, Any]]:
    """Return the answers to interrupts by the interrupts' ids."""
    if not isinstance(value, list) or not all(map(_is_entry, value)):
        raise ValueError("Must be a list of {interruptId, status, payload}.")
    return {entry["interruptId"]: entry for entry in value}


def _is_entry(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("interruptId"), str) or not value["interruptId"]:
        return False
    return value.get("status") in ("resolved", "cancelled") and isinstance(value.get("metadata", {}), dict)


ag_ui_view = streaming(POST=run_agent)
