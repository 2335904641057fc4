"""What a request asks for when it sends a message, and what a send returns. No HTTP."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from streaming_chat.engine.run import Order
from streaming_chat.outputs import Output
from streaming_chat.protocol.events import TOOL_RESULT
from streaming_chat.providers.base import Tools, Turn
from streaming_chat.providers.model_options import ModelOptions

_FIELDS = ("content", "model", "effort", "parent", "client_id")
# How an answer is delivered does not change what was asked.
_DELIVERY = ("client_id", "stream", "disconnect")
# The signature of a page's context differs each time the page is made.
_NOT_COMPARED = (*_DELIVERY, "context")


class Absent:
    """Marks a parent that the request did not name: send after the message in view."""


ABSENT = Absent()


@dataclass(frozen=True, kw_only=True, repr=False)
class SendRequest:
    """What a request asks for. Its repr is the default one: no text in logs and error pages.

    content: the user's text; "" for a regeneration. result_of: the id of the tool call whose result the content is, "" for
    none. effort: of the model, "" for its own or, of a continuation, that of the reply. output: the object that the reply
    must be, None for text. conversation_id: None for a new one. chat_id: the client's own
    id of the conversation, "" for none. parent: the reply to send after, None for a new root,
    ABSENT for the message in view. regenerate: the reply to write again or, if `continues`, to continue. earlier: turns
    that a stateless client supplied. omitted: how many more it supplied, which are neither sent nor saved. system: the
    system prompt of a new conversation, "" for the site's. max_output_tokens: if fewer than the model's. parameters: for
    the request to the provider, if the site lets clients set them. tools: of the client, which runs them itself, as in
    chat completions. tool_parameters: how the model may call them. body: the request's fields, by which a repeated
    client_id is compared. stateless: the client sends the whole history. client: its token or session, "" if it has none.
    history_digest: see stateless.py. page_context: see page_context.read.
    """

    content: str = ""
    result_of: str = ""
    model: str = ""
    effort: str = ""
    output: Output | None = None
    conversation_id: uuid.UUID | None = None
    chat_id: str = ""
    parent: uuid.UUID | Absent | None = ABSENT
    regenerate: uuid.UUID | None = None
    continues: bool = False
    earlier: Sequence[Turn] = ()
    omitted: int = 0
    system: str = ""
    max_output_tokens: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tools: Tools | None = None
    client_id: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    stateless: bool = False
    client: str = ""
    history_digest: str = ""
    page_context: dict[str, Any] | None = None
    grace_seconds: float | None = None

    @classmethod
    def from_body(cls, checked: dict[str, Any], /, **fields: Any) -> Self:
        """Return what the checked fields of a body ask for. fields: of the class, in place of the body's."""
        values: dict[str, Any] = {name: checked[name] for name in _FIELDS if name in checked}
        values["body"] = {name: str(value) for name, value in checked.items()}
        return cls(**values | fields)

    @property
    def turn(self) -> Turn:
        """The user's message."""
        parts = [{"kind": TOOL_RESULT, "id": self.result_of, "text": self.content}] if self.result_of else self.content
        return Turn("user", parts)

    def applied_to(self, options: ModelOptions) -> ModelOptions:
        """Return the options of a model with the client's parameters, as far as the site lets clients set them."""
        allowed = {name: value for name, value in self.parameters.items() if name in options.client_parameters}
        if allowed:
            options = replace(options, parameters={**options.parameters, **allowed})
        most = self.max_output_tokens
        return replace(options, max_output_tokens=min(most, options.max_output_tokens)) if most else options

    def key(self, owner_key: str) -> str | None:
        """Return what makes it idempotent: unique per owner, conversation (or its chat_id, or "new") and client_id."""
        if not self.client_id:
            return None
        # The conversation of a stateless client is found again each time.
        conversation_id = None if self.stateless else self.conversation_id
        conversation = f"chat {self.chat_id}" if self.chat_id else str(conversation_id or "new")
        return _digest(owner_key, conversation, self.client_id)

    def digest(self) -> str:
        """Return the same text for two requests that ask for the same."""
        asked = {name: value for name, value in self.body.items() if name not in _NOT_COMPARED}
        how = ["continue"] if self.continues else []
        return _digest(str(self.regenerate or ""), json.dumps(asked, sort_keys=True), *how)


@dataclass(frozen=True, slots=True)
class Sent:
    """A reply, and the order of its run; None if the reply existed before."""

    message_id: uuid.UUID
    order: Order | None = None


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
