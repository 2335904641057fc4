"""Makes the order of a run that goes on with a reply, from what is saved of it: in any process, for any reader."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from streaming_chat.conf import conf
from streaming_chat.engine.resumed import MEASURED, Answer, Resumed
from streaming_chat.engine.run import Order
from streaming_chat.models import Conversation, Message, ProviderState, ReplyEvent, ToolCall
from streaming_chat.outputs import Output, output_named
from streaming_chat.providers import get_provider, split_model
from streaming_chat.providers.base import Prompt, Provider, RunContext
from streaming_chat.providers.model_options import ModelOptions, options_of
from streaming_chat.providers.prompt import hash_of

from . import prompts
from .history import stored_messages
from .send_request import SendRequest


def order_of(request: HttpRequest, reply: Message) -> Order:
    """Return the order of a run that goes on with a reply, without what the answers say. Blocking.

    request: of the answer, for STREAMING_CHAT_PROMPT. Raises what that raises, and what `get_provider` raises for a model
    that there is no more.
    """
    alias, _model = split_model(reply.model)
    provider = get_provider(alias)
    conversation = reply.conversation
    return Order(
        message_id=reply.pk,
        conversation_id=conversation.pk,
        provider=provider,
        prompt=_prompt(request, reply, provider),
        start=reply.start_payload(),
        grace_seconds=conf.STREAMING_CHAT_DISCONNECT_GRACE_SECONDS,
        site_context=import_string(conf.STREAMING_CHAT_CONTEXT) if conf.STREAMING_CHAT_CONTEXT else None,
        acts_for=conversation.owner_key,
    )


def _prompt(request: HttpRequest, reply: Message, provider: Provider) -> Prompt:
    conversation = reply.conversation
    before = SendRequest(conversation_id=conversation.pk, regenerate=reply.pk)
    history = stored_messages(conversation, before, provider.max_prompt_chars)
    system, turns, _omitted = prompts.prompt(
        request, conversation, history, provider.max_prompt_chars, keeps_calls=provider.takes_tools
    )
    return Prompt(
        model=split_model(reply.model)[1],
        system=system,
        turns=tuple(turns),
        options=_options(reply, provider),
        output=_output(reply),
        context=_run_context(conversation, reply),
    )


def _options(reply: Message, provider: Provider) -> ModelOptions:
    options = options_of(reply.model, provider.max_output_tokens)
    return replace(options, effort=reply.effort) if reply.effort else options


def _output(reply: Message) -> Output | None:
    try:
        return output_named(reply.output_name) if reply.output_name else None
    except KeyError:
        # Python code can ask for an object without a name in the settings.
        return None


def _run_context(conversation: Conversation, reply: Message) -> RunContext:
    owner_hash = hash_of("owner", conversation.owner_key)
    return RunContext(conversation.owner_id, owner_hash, conversation.pk, reply.pk)


def resumed_of(reply: Message, using: str) -> Resumed:
    """Return what a run goes on with, once the last answer is saved. Blocking."""
    states = ProviderState.objects.using(using).filter(message=reply).values_list("call", "state")
    states_answered = (ToolCall.State.APPROVED, ToolCall.State.DENIED, ToolCall.State.OK)
    rows = ToolCall.objects.using(using).filter(message=reply, ended_at=None, status__in=states_answered)
    return Resumed(
        events=tuple(ReplyEvent.objects.using(using).stream(reply.pk)),
        answers=_answers(rows),
        states={call + 1: json.loads(state) for call, state in states},
        measured=Message.objects.using(using).values(*MEASURED).get(pk=reply.pk),
    )


def _answers(rows: Iterable[ToolCall]) -> dict[str, Answer]:
    return {row.call_id: _answer(row, row.answer or {}) for row in rows}


def _answer(row: ToolCall, kept: dict[str, Any]) -> Answer:
    """Return the answer that a row keeps; without one, the call was allowed by the policy, and its worker died."""
    told = {name: kept[name] for name in ("arguments", "reason", "output") if name in kept}
    return Answer(kept.get("approved", True), row.digest, has_run=row.runs > 0, **told)
