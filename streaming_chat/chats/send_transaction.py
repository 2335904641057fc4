"""One attempt to send: a transaction that refuses the request, or inserts a message and its reply.

It begins with a write to the conversation, which is its lock on both databases. Everything that can be refused is
refused here, before the first byte and before the provider is called.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, cast

from django.db.models import CharField, IntegerField, UUIDField
from django.db.models.functions import Now
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import conf
from streaming_chat.db.hooks import SavedText, columns_on_change, texts_saved
from streaming_chat.db.rows import new_row, stored_rows
from streaming_chat.db.statements import Argument, Query, Statement, create, insert, update
from streaming_chat.db.uuid7 import uuid7
from streaming_chat.engine.run import Order
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, ConversationQuerySet, Message
from streaming_chat.protocol import endings
from streaming_chat.providers import default_model, get_provider, is_offered, not_offered, split_model
from streaming_chat.providers.base import Prompt, Provider, RunContext
from streaming_chat.providers.model_options import ModelOptions, options_of
from streaming_chat.providers.prompt import hash_of
from streaming_chat.quotas import get_quota, tokens_in

from . import prompts
from .continuation import Continuation
from .history import new_messages, stored_messages, unknown_parent
from .idempotency import find_sent
from .live_reply_limit import insert_live_reply
from .regeneration_limit import require_few_regenerations
from .send_request import SendRequest, Sent
from .titles import title_of
from .tree import messages_of


class SendTransaction:
    """The checks and the rows of one attempt. `write` may be called again after a deadlock: its ids stay the same."""

    def __init__(self, request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str, using: str) -> None:
        self._request = request
        self._owner = owner
        self._send_request = send_request
        self._worker = worker
        self._using = using
        # Before the reply's: rows of one statement have the same time, and are ordered by their ids.
        self._new_ids = [uuid7() for _turn in [*send_request.earlier, send_request.content]]
        self.message_id = uuid7()

    def check(self) -> None:
        """Refuse a new conversation before the transaction, whose first statement must be a write. Raises APIError."""
        if self._send_request.conversation_id is None:
            if isinstance(self._send_request.parent, uuid.UUID):
                raise unknown_parent()
            self._require_may_send(None)
            self._require_room(0)
            self._model("")

    def write(self) -> Sent:
        """Insert the rows, or find those of an earlier request with the same client_id. Raises APIError."""
        if self._send_request.conversation_id is None:
            conversation = self._insert_conversation()
        else:
            conversation, live = self._lock_conversation(self._send_request.conversation_id)
            if found := find_sent(self._request, self._owner, self._send_request):
                return found
            if live:
                raise APIError(409, "reply_in_progress", reply=str(live))
            self._require_room(conversation.message_count)
            if self._send_request.regenerate:
                require_few_regenerations(self._owner.key, self._using)
        return Sent(self.message_id, self._write_reply(conversation))

    def _write_reply(self, conversation: Conversation) -> Order:
        continued = self._continued(conversation)
        model = self._model(continued.model if continued else conversation.model)
        provider = get_provider(split_model(model)[0])
        is_prefilled = provider.prefills(split_model(model)[1])
        continuation = Continuation.of(continued, is_prefilled=is_prefilled) if continued else None
        history = stored_messages(conversation, self._send_request, provider.max_prompt_chars)
        added = self._new_messages(conversation, history)
        history += added
        prompt, omitted = self._prompt(conversation, history, model, provider, continuation)
        reply = self._reply(history[-1], model, prompt, omitted)
        if continuation:
            reply.continues_id, reply.continued_at = continuation.message.pk, continuation.position
        reserved = self._plan_quota(prompt)
        self._insert_messages(added, reply)
        insert_live_reply(reply, self._owner.key, self._worker, reserved, self._using)
        if continuation:
            insert(continuation.rows(reply), self._using)
        if self._send_request.conversation_id is not None:
            self._update_conversation(conversation, model)
        # Last: many requests share the quota's rows.
        if (quota := get_quota()) is not None:
            quota.reserve(reserved, self._using)
        order = self._order(reply, provider, prompt)
        return continuation.order(order) if continuation else order

    def _insert_conversation(self) -> Conversation:
        """Insert it as it will be when the reply is there: the foreign key `head` is checked at the commit."""
        return create(
            Conversation,
            self._using,
            owner_id=self._owner.user and self._owner.user.pk,
            owner_key=self._owner.key,
            title=title_of(self._send_request.content),
            system_prompt=conf.STREAMING_CHAT_SYSTEM_PROMPT,
            model=self._model(""),
            head_id=self.message_id,
            last_status=endings.STREAMING,
            message_count=self._added_count(),
        )

    def _lock_conversation(self, conversation_id: uuid.UUID) -> tuple[Conversation, uuid.UUID | None]:
        """Return the conversation, and its live reply."""
        key = {"pk": conversation_id, "owner_key": self._owner.key}
        # The write is the lock; read only after it.
        if not self._owner.key or not _lock.execute(self._using, **key):
            raise APIError(404, "not_found")
        [(*values, live)] = _select.rows(self._using, **key)
        [conversation] = stored_rows(Conversation, self._using, _COLUMNS, [values])
        self._require_may_send(conversation)
        return conversation, live

    def _require_may_send(self, conversation: Conversation | None) -> None:
        if not get_permissions().may_send(self._request, self._owner, conversation):
            raise APIError(403, "forbidden")

    def _require_room(self, message_count: int) -> None:
        if message_count + self._added_count() > conf.STREAMING_CHAT_MAX_CONVERSATION_MESSAGES:
            raise APIError(422, "conversation_full")

    def _continued(self, conversation: Conversation) -> Message | None:
        """Return the reply to continue, if that is what was asked for."""
        wanted = self._send_request.continues and self._send_request.regenerate
        return messages_of(conversation).get(pk=wanted) if wanted else None

    def _model(self, current: str) -> str:
        """Return the model that was asked for, or else the conversation's. Raises APIError: 403, 422."""
        model = self._send_request.model or (current if is_offered(current) else default_model())
        if not is_offered(model):
            raise APIError(422, "invalid", fields={"model": not_offered(model)})
        if not get_permissions().may_use_model(self._request, self._owner, model):
            raise APIError(403, "forbidden")
        return model

    def _new_messages(self, conversation: Conversation, history: list[Message]) -> list[Message]:
        if self._send_request.regenerate:
            return []
        return new_messages(conversation, self._send_request, self._new_ids, history[-1] if history else None)

    def _prompt(
        self,
        conversation: Conversation,
        history: list[Message],
        model: str,
        provider: Provider,
        continuation: Continuation | None,
    ) -> tuple[Prompt, int]:
        """Return what the provider is asked, and how many messages did not fit."""
        longest, last_turns = provider.max_prompt_chars, continuation.turns if continuation else ()
        system, turns, omitted = prompts.prompt(self._request, conversation, history, longest, last_turns)
        prompt = Prompt(
            model=split_model(model)[1],
            system=system,
            turns=tuple(turns),
            options=self._options(model, provider, continuation),
            context=self._run_context(conversation),
        )
        return prompt, omitted

    def _options(self, model: str, provider: Provider, continuation: Continuation | None) -> ModelOptions:
        """Return the options of the model, with the effort that was asked for. Raises APIError: 422."""
        options = options_of(model, provider.max_output_tokens)
        effort = self._send_request.effort
        if effort and effort not in options.efforts:
            known = ", ".join(options.efforts) or "none"
            raise APIError(422, "invalid", fields={"effort": f"Must be one of the model's efforts: {known}."})
        if continuation and continuation.message.effort in options.efforts:
            effort = continuation.message.effort
        return replace(options, effort=effort) if effort else options

    def _run_context(self, conversation: Conversation) -> RunContext:
        return RunContext(
            user_id=self._owner.user and self._owner.user.pk,
            owner_hash=hash_of("owner", self._owner.key),
            conversation_id=conversation.pk,
            message_id=self.message_id,
        )

    def _reply(self, parent: Message, model: str, prompt: Prompt, omitted: int) -> Message:
        return new_row(
            Message,
            id=self.message_id,
            conversation_id=parent.conversation_id,
            parent_id=parent.pk,
            depth=parent.depth + 1,
            role=Message.Role.ASSISTANT.value,
            status=endings.STREAMING,
            provider=split_model(model)[0],
            model=model,
            effort=prompt.options.effort or "",
            omitted_messages=omitted + self._send_request.omitted,
            send_key=self._send_request.key(self._owner.key),
            body_digest=self._send_request.digest() if self._send_request.client_id else "",
        )

    def _plan_quota(self, prompt: Prompt) -> Any:
        """Return what the quota is to reserve for the reply; None without a quota."""
        if (quota := get_quota()) is None:
            return None
        return quota.plan(
            self._request,
            self._owner.key,
            input_tokens=tokens_in(prompt.chars),
            output_tokens=prompt.options.max_output_tokens,
        )

    def _insert_messages(self, added: list[Message], reply: Message) -> None:
        insert([*added, reply], self._using)
        texts = [SavedText(reply.conversation_id, message.pk, message.is_reply, message.text) for message in added]
        texts_saved(texts, self._using)

    def _added_count(self) -> int:
        """Return how many messages are inserted."""
        return 1 if self._send_request.regenerate else 2 + len(self._send_request.earlier)

    def _update_conversation(self, conversation: Conversation, model: str) -> None:
        _update.execute(
            self._using,
            pk=conversation.pk,
            head=self.message_id,
            model=model,
            message_count=conversation.message_count + self._added_count(),
            title=conversation.title or title_of(self._send_request.content),
        )

    def _order(self, reply: Message, provider: Provider, prompt: Prompt) -> Order:
        return Order(
            message_id=reply.pk,
            conversation_id=reply.conversation_id,
            provider=provider,
            prompt=prompt,
            start=reply.start_payload(),
            grace_seconds=self._send_request.grace_seconds,
        )


_COLUMNS = [field.attname for field in Conversation._meta.concrete_fields]


def _of_owner() -> ConversationQuerySet:
    key = Argument("pk", UUIDField())
    return Conversation.objects.for_owner(cast("str", Argument("owner_key", CharField()))).filter(pk=key)


@Statement
def _lock() -> Query:
    return update(_of_owner(), last_activity=Now())


@Statement
def _select() -> Query:
    return _of_owner().values_list(*_COLUMNS, "live").order_by()


@Statement
def _update() -> Query:
    return update(
        Conversation.objects.filter(pk=Argument("pk", UUIDField())),
        head=Argument("head", UUIDField()),
        model=Argument("model", CharField()),
        last_status=endings.STREAMING,
        message_count=Argument("message_count", IntegerField()),
        title=Argument("title", CharField()),
        **columns_on_change(),
    )
