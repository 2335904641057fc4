"""The tool calls of a reply as the page without JavaScript shows them, and its form that answers one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats.call_answers import CallAnswer, answer_calls
from streaming_chat.engine.run import Order
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message, ToolCall
from streaming_chat.protocol import tool_calls
from streaming_chat.protocol.events import APPROVAL, STEP, TOOL_RESULT, Event
from streaming_chat.protocol.storable_text import storable, storable_value
from streaming_chat.rendering.element import WORDS
from streaming_chat.rendering.shown_json import is_same_json, shown_json

from .api import parsing
from .api.lookups import find_reply
from .api.responses import require
from .api.serializers import answers_to


class Call(NamedTuple):
    """A call as the page shows it.

    state: in words, "" for a tool that the provider runs itself. output: None without a result. asks: "server" while it
    waits for the owner to allow it, "client" while it waits for a program of the owner's, "" otherwise.
    """

    id: str
    name: str
    state: str
    arguments: str
    output: str | None = None
    asks: str = ""
    is_editable: bool = False

    @property
    def question(self) -> SafeString:
        """What the page asks about it."""
        name = format_html("<bdi>{}</bdi>", self.name)
        return format_html(str(WORDS["call_of_client" if self.asks == "client" else "call_question"]), name=name)


class ReplyCalls:
    """Describes the calls of one message. Its repr is the default one: no text in logs."""

    def __init__(self, message: Message, received: Iterable[Event], *, is_shared: bool) -> None:
        """is_shared: for a reader who is not the owner: neither results nor questions."""
        self._is_live = message.is_live
        self._is_shared = is_shared
        self._has_steps = False
        self._results: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        for kind, payload in received:
            self._has_steps |= kind == STEP
            if kind == TOOL_RESULT:
                self._results[payload.get("id", "")] = payload
            elif kind == APPROVAL:
                self._asked |= {call["id"]: call for call in payload["calls"]}
        self._answers = answers_to(message) if self._asked and self._is_live else {}

    def describe(self, payload: dict[str, Any]) -> Call:
        """Return the call of an event."""
        call_id, name = str(payload.get("id", "")), str(payload.get("name", ""))
        state, result = self._state(payload), self._results.get(call_id)
        asked = self._asked[call_id] if state == "waiting" else {}
        words = "" if self._is_shared and result is None else str(WORDS.get(f"call_{state}", ""))
        return Call(
            id=call_id,
            name=name,
            state=words,
            arguments=shown_json(str(payload.get("arguments", ""))),
            output=None if result is None or self._is_shared else str(result.get("output", "")),
            asks="" if self._is_shared else asked.get("runs", ""),
            is_editable=asked.get("editable", False),
        )

    def _state(self, payload: dict[str, Any]) -> str:
        """Return the state of a call, as `call-states.js` does."""
        call_id = payload.get("id", "")
        if not tool_calls.is_of_site(payload):
            return ""
        if result := self._results.get(call_id):
            return str(result.get("status", ""))
        if not (self._has_steps and self._is_live):
            return "requested"
        if call_id not in self._asked:
            return "running"
        if call_id not in self._answers:
            return "waiting"
        return "approved" if self._answers[call_id] else "denied"


@dataclass(frozen=True, repr=False)
class AnswerForm:
    """What the form said. Its repr is the default one: no text in logs. arguments: None if they cannot be changed."""

    reply: str
    call: str
    is_allowed: bool
    arguments: str | None
    reason: str

    @classmethod
    def from_post(cls, request: HttpRequest) -> AnswerForm | None:
        """Return what was posted; None if it was another form. A form ends its lines with CRLF."""
        if "answer" not in request.POST:
            return None
        posted = {
            name: storable(value).replace("\r\n", "\n")
            for name in ("reply", "call", "arguments", "reason")
            if isinstance(value := request.POST.get(name), str)
        }
        return cls(
            reply=posted.get("reply", ""),
            call=posted.get("call", ""),
            is_allowed=request.POST["answer"] == "allow",
            arguments=posted.get("arguments"),
            reason=posted.get("reason", "").strip(),
        )


def take_answer(request: HttpRequest, owner: Owner, form: AnswerForm) -> tuple[Message, Order | None]:
    """Save the answer. Returns the reply, and the order of the run with which it goes on; None if it still waits.

    Raises APIError.
    """
    body = parsing.cleaned(
        {"reply": form.reply, "reason": form.reason}, {"reply": parsing.identifier, "reason": parsing.text(1_000)}
    )
    reply = find_reply(owner, body["reply"])
    require(get_permissions().may_answer(request, owner, reply.conversation))
    answer = CallAnswer(
        call=form.call,
        approved=form.is_allowed,
        arguments=_changed(reply, form) if form.is_allowed else None,
        reason="" if form.is_allowed else form.reason,
    )
    return reply, answer_calls(request, reply, [answer], writer.worker, by=owner.user).order


def _changed(reply: Message, form: AnswerForm) -> str | None:
    """Return the arguments of the form as JSON text, None if they are the model's. Raises APIError."""
    row = ToolCall.objects.using(reply._state.db).filter(message=reply, call_id=form.call).first()
    if form.arguments is None or row is None or is_same_json(form.arguments, shown_json(row.arguments)):
        return None
    try:
        arguments = parsing.json_value(form.arguments)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise APIError(422, "invalid", fields={"answers": _("The arguments must be a JSON object.")})
    return json.dumps(storable_value(arguments), ensure_ascii=False)
