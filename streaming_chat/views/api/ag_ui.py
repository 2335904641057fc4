"""AG-UI: a client sends a RunAgentInput, and gets the events of one run.

The client chooses the id of the thread, which is a conversation of its owner, and sends all of its messages. The history is
ours: only the text of the last message is taken, which is the user's. Tools, state and context of the client are ignored.

Source: https://docs.ag-ui.com/spec/1.0/basic/run-input
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.chats.chat_ids import find_chat
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.encoders.ag_ui import AGUIEncoder

from . import parsing, ui_messages
from .messages import option_checks, options_of
from .operations import SENDING, operation
from .replies import begin_reply
from .reply_answers import ReplyAnswer
from .streaming import streaming

_MAX_RUN_ID = 256


def _input_fields() -> parsing.Fields:
    checks = {
        "threadId": ui_messages.checks()["threadId"],
        "runId": parsing.text(_MAX_RUN_ID, shortest=1),
        "messages": ui_messages.checks()["messages"],
        "forwardedProps": _asked,
        "resume": _nothing_to_resume,
    }
    return parsing.Fields(checks, ["threadId", "runId", "messages"])


@operation(
    body=_input_fields,
    ignores_unknown=True,
    answers={200: "text/event-stream"},
    errors=(*SENDING, "context_invalid", "context_expired", "too_many_streams", "full"),
)
def run_agent(request: HttpRequest, owner: Owner) -> ReplyAnswer:
    """Answer the last message of a thread, and stream the run. The same `runId` again is the same run."""
    parsing.require_json(request)
    body = parsing.read_body(request, *_input_fields(), ignores_unknown=True)
    thread_id, run_id, asked = body["threadId"], body["runId"], body.get("forwardedProps", {})
    turn = ui_messages.Turn.of({"messages": body["messages"]})
    conversation = find_chat(owner, thread_id)
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
    options = {"thread_id": thread_id, "run_id": run_id}
    return begin_reply(request, owner, send_request, encoder=AGUIEncoder, encoder_options=options)


@parsing.check()
def _asked(value: Any) -> dict[str, Any]:
    """Return what a client asks for beyond the protocol, such as `model` and `effort`, by the names of `api/messages`."""
    if not isinstance(value, dict):
        return {}
    checks = {name: check for name, check in option_checks().items() if name != "client_id"}
    return {name: check(value[name]) for name, check in checks.items() if name in value}


@parsing.check(type="array", maxItems=0)
def _nothing_to_resume(value: Any) -> None:
    if value != []:
        raise ValueError("There are no interrupts to resume.")


ag_ui_view = streaming(POST=run_agent)
