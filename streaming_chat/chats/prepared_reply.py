"""What a send decides before its transaction: whether it is allowed, and what the model is asked.

A site's own code runs here, in its permissions, its prompt and the plan of its quota, and may take seconds. So nothing is
locked. What was read may change until the transaction begins, which verifies it (`send_transaction.py`).
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, NamedTuple, cast

from django.db.models import CharField, UUIDField
from django.http import HttpRequest
from django.utils.module_loading import import_string

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import conf
from streaming_chat.db.rows import new_row, stored_rows
from streaming_chat.db.statements import Argument, Query, Statement
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
from .fallbacks import fallbacks_of
from .history import new_messages, stored_messages, unknown_parent
from .regeneration_limit import require_few_regenerations
from .send_request import SendRequest
from .titles import title_of
from .tree import messages_of


class PreparedReply(NamedTuple):
    """A reply that may be written, with everything that the transaction inserts.

    conversation: as it was read, or a new one. title: of the conversation from now on. added: the messages before the
    reply, not saved. reserved: what the quota is to reserve.
    """

    conversation: Conversation
    title: str
    added: list[Message]
    reply: Message
    continuation: Continuation | None
    reserved: Any
    order: Order


def prepare(request: HttpRequest, owner: Owner, send_request: SendRequest, using: str) -> PreparedReply:
    """Refuse a request, or return the reply that it asks for. Blocking. Raises APIError: 403, 404, 409, 422, 429."""
    return _Preparation(request, owner, send_request, using).prepare()


class _Preparation:
    def __init__(self, request: HttpRequest, owner: Owner, send_request: SendRequest, using: str) -> None:
        self._request = request
        self._owner = owner
        self._send_request = send_request
        self._using = using
        # Before the reply's: rows of one statement have the same time, and are ordered by their ids.
        self._new_ids = [uuid7() for _turn in [*send_request.earlier, send_request.content]]
        self._message_id = uuid7()

    def prepare(self) -> PreparedReply:
        stored = self._stored_conversation()
        if stored and self._send_request.regenerate:
            require_few_regenerations(self._owner.key, self._using)
        continued = self._continued(stored) if stored else None
        model = self._model(continued.model if continued else stored.model if stored else "")
        provider = get_provider(split_model(model)[0])
        is_prefilled = provider.prefills(split_model(model)[1])
        continuation = Continuation.of(continued, is_prefilled=is_prefilled) if continued else None
        conversation = stored or self._new_conversation(model)
        history = stored_messages(conversation, self._send_request, provider.max_prompt_chars)
        added = self._new_messages(conversation, history)
        history += added
        prompt, omitted = self._prompt(conversation, history, model, provider, continuation)
        reply = self._reply(history[-1], model, prompt, omitted)
        if continuation:
            reply.continues_id, reply.continued_at = continuation.message.pk, continuation.position
        order = self._order(reply, provider, prompt)._replace(
            fallbacks=fallbacks_of(prompt, continuation, self._send_request)
        )
        return PreparedReply(
            conversation=conversation,
            title=conversation.title or title_of(self._send_request.content),
            added=added,
            reply=reply,
            continuation=continuation,
            reserved=self._plan_quota(order),
            order=continuation.order(order) if continuation else order,
        )

    def _stored_conversation(self) -> Conversation | None:
        """Return the conversation to send in, None for a new one, if another message may be sent in it. Raises APIError."""
        conversation, live = None, None
        if self._send_request.conversation_id is not None:
            conversation, live = self._read_conversation(self._send_request.conversation_id)
        elif isinstance(self._send_request.parent, uuid.UUID):
            raise unknown_parent()
        if not get_permissions().may_send(self._request, self._owner, conversation):
            raise APIError(403, "forbidden")
        if live:
            raise APIError(409, "reply_in_progress", reply=str(live))
        count = conversation.message_count if conversation else 0
        if count + added_count(self._send_request) > conf.STREAMING_CHAT_MAX_CONVERSATION_MESSAGES:
            raise APIError(422, "conversation_full")
        return conversation

    def _read_conversation(self, conversation_id: uuid.UUID) -> tuple[Conversation, uuid.UUID | None]:
        """Return the conversation, and its live reply."""
        found = self._owner.key and _select.rows(self._using, pk=conversation_id, owner_key=self._owner.key)
        if not found:
            raise APIError(404, "not_found")
        [(*values, live)] = found
        [conversation] = stored_rows(Conversation, self._using, _COLUMNS, [values])
        return conversation, live

    def _new_conversation(self, model: str) -> Conversation:
        """Return it as it will be when the reply is there: the foreign key `head` is checked at the commit."""
        return new_row(
            Conversation,
            owner_id=self._owner.user and self._owner.user.pk,
            owner_key=self._owner.key,
            chat_id=self._send_request.chat_id or None,
            title=title_of(self._send_request.content),
            system_prompt=self._send_request.system or conf.STREAMING_CHAT_SYSTEM_PROMPT,
            model=model,
            head_id=self._message_id,
            last_status=endings.STREAMING,
            message_count=added_count(self._send_request),
        )

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
        system, turns, omitted = prompts.prompt(
            self._request, conversation, history, longest, last_turns, keeps_calls=provider.takes_tools
        )
        prompt = Prompt(
            model=split_model(model)[1],
            system=system,
            turns=tuple(turns),
            options=self._options(model, provider, continuation),
            tools=self._send_request.tools,
            output=self._send_request.output,
            context=self._run_context(conversation),
        )
        return prompt, omitted

    def _options(self, model: str, provider: Provider, continuation: Continuation | None) -> ModelOptions:
        """Return the options of the model, with what was asked for. Raises APIError: 422."""
        options = options_of(model, provider.max_output_tokens)
        self._require_allowed(options, provider, split_model(model)[1])
        options = self._send_request.applied_to(options)
        effort = self._send_request.effort
        if effort and effort not in options.efforts:
            known = ", ".join(options.efforts) or "none"
            raise APIError(422, "invalid", fields={"effort": f"Must be one of the model's efforts: {known}."})
        if continuation and continuation.message.effort in options.efforts:
            effort = continuation.message.effort
        return replace(options, effort=effort) if effort else options

    def _require_allowed(self, options: ModelOptions, provider: Provider, model: str) -> None:
        refused = [name for name in self._send_request.parameters if name not in options.client_parameters]
        fields = dict.fromkeys(refused, "This site does not let clients set it for this model.")
        if (tools := self._send_request.tools) and (problem := provider.problem_with_tools(model, tools)):
            fields["tools"] = problem
        if fields:
            raise APIError(422, "invalid", fields=fields)

    def _run_context(self, conversation: Conversation) -> RunContext:
        return RunContext(
            user_id=self._owner.user and self._owner.user.pk,
            owner_hash=hash_of("owner", self._owner.key),
            conversation_id=conversation.pk,
            message_id=self._message_id,
        )

    def _reply(self, parent: Message, model: str, prompt: Prompt, omitted: int) -> Message:
        return new_row(
            Message,
            id=self._message_id,
            conversation_id=parent.conversation_id,
            parent_id=parent.pk,
            depth=parent.depth + 1,
            role=Message.Role.ASSISTANT.value,
            status=endings.STREAMING,
            provider=split_model(model)[0],
            model=model,
            effort=prompt.options.effort or "",
            output_name=prompt.output.name if prompt.output else "",
            omitted_messages=omitted + self._send_request.omitted,
            send_key=self._send_request.key(self._owner.key),
            history_digest=self._send_request.history_digest,
            body_digest=self._send_request.digest() if self._send_request.client_id else "",
        )

    def _plan_quota(self, order: Order) -> Any:
        """Return what the quota is to reserve for the reply; None without a quota."""
        if (quota := get_quota()) is None:
            return None
        return quota.plan(
            self._request,
            self._owner.key,
            input_tokens=tokens_in(order.prompt.chars),
            output_tokens=max(target.prompt.options.max_output_tokens for target in order.targets),
        )

    def _order(self, reply: Message, provider: Provider, prompt: Prompt) -> Order:
        return Order(
            message_id=reply.pk,
            conversation_id=reply.conversation_id,
            provider=provider,
            prompt=prompt,
            start=reply.start_payload(),
            grace_seconds=self._send_request.grace_seconds,
            site_context=import_string(conf.STREAMING_CHAT_CONTEXT) if conf.STREAMING_CHAT_CONTEXT else None,
            acts_for=self._owner.key if self._uses_tools(prompt, provider) else "",
        )

    def _uses_tools(self, prompt: Prompt, provider: Provider) -> bool:
        """Return whether the model gets the site's tools: not beside a client's own, and not to finish a reply's text."""
        is_continuation = self._send_request.continues
        return bool(prompt.options.tools) and provider.takes_tools and prompt.tools is None and not is_continuation


def added_count(send_request: SendRequest) -> int:
    """Return how many messages a send inserts."""
    return 1 if send_request.regenerate else 2 + len(send_request.earlier)


_COLUMNS = [field.attname for field in Conversation._meta.concrete_fields]


def of_owner() -> ConversationQuerySet:
    """Return the conversation `pk` of `owner_key`, for a statement with these arguments."""
    key = Argument("pk", UUIDField())
    return Conversation.objects.for_owner(cast("str", Argument("owner_key", CharField()))).filter(pk=key)


@Statement
def _select() -> Query:
    return of_owner().values_list(*_COLUMNS, "live").order_by()
