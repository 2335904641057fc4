"""What happens between a request to send and its run: one transaction that refuses, or makes the rows.

It begins with a write to the conversation, which is its lock on both databases. Everything that can be refused is
refused here, before the first byte and before the provider is asked.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError
from django.db.models.functions import Now
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.accounts.visitors import claimed_key
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import SavedText, columns_on_change, texts_saved
from streaming_chat.db.transactions import write_transaction
from streaming_chat.db.uuid7 import uuid7
from streaming_chat.engine.recovery import recover_abandoned
from streaming_chat.engine.run import Order
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import TITLE_CHARS, Conversation, LiveReply, Message, MessageQuerySet
from streaming_chat.protocol import endings
from streaming_chat.providers import default_model, get_provider, is_offered, split_model
from streaming_chat.providers.base import Prompt, Provider, Turn
from streaming_chat.quotas import get_quota, tokens_in

from . import prompts
from .tree import path_messages

# Each try loses to another request of the same owner at most once per slot.
_TRIES = 24


class Absent:
    """Marks a parent that the request did not name: send after the message in view."""


ABSENT = Absent()


@dataclass(frozen=True, kw_only=True, repr=False)
class SendRequest:
    """What a request asks for. Its repr is the default one: no text in logs and error pages.

    content: the user's text; "" for a regeneration. conversation_id: None for a new one. parent: the reply to send
    after, None for a new root, ABSENT for the message in view. regenerate: the reply to write again. earlier: turns that
    a stateless client supplied. body: what the request said, for `client_id`.
    """

    content: str = ""
    model: str = ""
    conversation_id: uuid.UUID | None = None
    parent: uuid.UUID | Absent | None = ABSENT
    regenerate: uuid.UUID | None = None
    earlier: Sequence[Turn] = ()
    client_id: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    stateless: bool = False
    grace_seconds: float | None = None

    def key(self, owner_key: str) -> str | None:
        """Return what makes it idempotent: unique per owner, conversation (or "new") and client_id."""
        if not self.client_id:
            return None
        return _digest(owner_key, str(self.conversation_id or "new"), self.client_id)

    def digest(self) -> str:
        """Return what tells whether two requests ask for the same; how the answer is delivered does not count."""
        asked = {key: value for key, value in self.body.items() if key not in ("client_id", "stream", "disconnect")}
        return _digest(str(self.regenerate or ""), json.dumps(asked, sort_keys=True))


@dataclass(frozen=True, slots=True)
class Sent:
    """A reply, and the order of its run; None where the reply exists already."""

    message_id: uuid.UUID
    order: Order | None = None


def send(request: HttpRequest, owner: Owner, outgoing: SendRequest, worker: str) -> Sent:
    """Make the rows of a message and its reply, claimed by `worker`; or find them, by client_id. Blocking.

    Raises APIError: 403, 404, 409, 422, 429, 503.
    """
    using = live_database()
    settled = False
    for _try in range(_TRIES):
        try:
            if found := _find(request, owner, outgoing):
                return found
            sending = _Sending(request, owner, outgoing, worker, using)
            sending.check()
            with runner.expecting(sending.message_id):
                sent = write_transaction(sending.write, using=using)
            if sent.order is None:
                runner.forget_expected(sending.message_id)
            return sent
        except IntegrityError:
            # Another request took the slot, the conversation or the key: look again.
            continue
        except APIError as refusal:
            if settled or refusal.code not in ("reply_in_progress", "too_many_replies"):
                raise
            settled = True
            if not _settle(owner):
                raise
    raise APIError(429, "too_many_replies", retry_after=1)


def made_by(request: HttpRequest, owner: Owner, outgoing: SendRequest) -> MessageQuerySet:
    """Return the reply that a client_id has made, for this owner or for the visitor that they were before."""
    keys = [outgoing.key(key) for key in (owner.key, claimed_key(request)) if key]
    return Message.objects.using(live_database()).filter(send_key__in=keys)


def _find(request: HttpRequest, owner: Owner, outgoing: SendRequest) -> Sent | None:
    """Return what an earlier request with this client_id made, also one by the visitor that a user was before."""
    if not outgoing.client_id:
        return None
    found = (
        made_by(request, owner, outgoing)
        .values_list("pk", "body_digest", "conversation__deleted_at", "conversation__owner_key")
        .first()
    )
    if found is None:
        return None
    pk, digest, deleted_at, owner_key = found
    if deleted_at or owner_key != owner.key:
        # Its client_id is taken: without this every try would fail at the constraint. And what a visitor sent may have
        # been claimed since: it is not theirs to read any more.
        raise APIError(404, "not_found")
    if digest != outgoing.digest():
        raise APIError(422, "idempotency_mismatch")
    return Sent(pk)


def _settle(owner: Owner) -> bool:
    """End the owner's replies whose worker died; whether there were any."""
    settled, _more = recover_abandoned(LiveReply.objects.filter(owner_key=owner.key))
    return bool(settled)


def _require_room(message_id: uuid.UUID) -> None:
    """Raise APIError if this process accepts no new replies. Checked last: a repeated request finds its reply."""
    if runner.is_draining:
        raise APIError(503, "draining", retry_after=5)
    if not runner.has_room_for(message_id):
        raise APIError(503, "full", retry_after=5)


class _Sending:
    """One try, inside its transaction."""

    def __init__(self, request: HttpRequest, owner: Owner, outgoing: SendRequest, worker: str, using: str) -> None:
        self._request = request
        self._owner = owner
        self._outgoing = outgoing
        self._worker = worker
        self._using = using
        # Before the reply's: rows of one statement have one time, and are ordered by their ids.
        self._said_ids = [uuid7() for _turn in [*outgoing.earlier, outgoing.content]]
        self.message_id = uuid7()

    def check(self) -> None:
        """Refuse a new conversation before the transaction, whose first statement must be a write."""
        if self._outgoing.conversation_id is None:
            if isinstance(self._outgoing.parent, uuid.UUID):
                raise _unknown_parent()
            self._may_send(None)
            self._model("")

    def write(self) -> Sent:
        """Write the rows, the first statement being the lock, and return the order."""
        asked = self._outgoing.conversation_id
        if asked is None:
            conversation = self._new_conversation()
        else:
            conversation = self._locked_conversation(asked)
            if found := _find(self._request, self._owner, self._outgoing):
                return found
            self._refuse_second(conversation)
        model = self._model(conversation.model)
        history = self._history(conversation)
        written = [] if self._outgoing.regenerate else self._said(conversation, history[-1].pk if history else None)
        history += written
        user_message_id = history[-1].pk
        alias, name = split_model(model)
        provider = get_provider(alias)
        system, turns, omitted = prompts.prompt(self._request, conversation, history, provider.max_prompt_chars)
        plan = self._plan(system, turns, provider)
        self._write_reply(conversation, written, user_message_id, model, omitted, plan=plan)
        if asked is not None:
            self._update(conversation, model)
        self._reserve(plan)
        prompt = Prompt(name, system, tuple(turns), provider.max_output_tokens)
        return Sent(self.message_id, self._order(conversation, user_message_id, model, provider, prompt))

    def _new_conversation(self) -> Conversation:
        """Write it as it will be when the reply is there: the key of `head` is checked at the commit."""
        conversation = Conversation(
            owner=self._owner.user,
            owner_key=self._owner.key,
            title=title_of(self._outgoing.content),
            system_prompt=conf.STREAMING_CHAT_SYSTEM_PROMPT,
            model=self._model(""),
            head_id=self.message_id,
            last_status=endings.STREAMING,
            message_count=self._count(),
        )
        conversation.save(using=self._using, force_insert=True)
        return conversation

    def _locked_conversation(self, conversation_id: uuid.UUID) -> Conversation:
        conversations = Conversation.objects.using(self._using).for_owner(self._owner.key)
        mine = conversations.filter(pk=conversation_id)
        # The write is the lock; read only after it.
        if not mine.update(last_activity=Now()):
            raise APIError(404, "not_found")
        conversation = mine.get()
        self._may_send(conversation)
        return conversation

    def _may_send(self, conversation: Conversation | None) -> None:
        if not get_permissions().may_send(self._request, self._owner, conversation):
            raise APIError(403, "forbidden")

    def _refuse_second(self, conversation: Conversation) -> None:
        live = LiveReply.objects.using(self._using).filter(conversation=conversation).values_list("pk", flat=True)
        if found := live.first():
            raise APIError(409, "reply_in_progress", reply=str(found))

    def _model(self, current: str) -> str:
        model = self._outgoing.model or (current if is_offered(current) else default_model())
        if not is_offered(model):
            raise APIError(422, "invalid", fields={"model": f"one of GET api/models was wanted, got {model!r}."})
        if not get_permissions().may_use_model(self._request, self._owner, model):
            raise APIError(403, "forbidden")
        return model

    def _history(self, conversation: Conversation) -> list[Message]:
        """Return the path to the message that the reply, or the user's text, comes after."""
        if self._outgoing.conversation_id is None:
            return []
        parent_id = self._parent(conversation)
        history = path_messages(conversation, parent_id, without=["parts"]) if parent_id else []
        if self._outgoing.regenerate and not history:
            raise APIError(422, "invalid", fields={"id": "a reply to a user's message was wanted."})
        return history

    def _parent(self, conversation: Conversation) -> uuid.UUID | None:
        """Return the message that the history ends with: a reply for a send, a user's for a regeneration."""
        messages = Message.objects.using(self._using).filter(conversation=conversation, role=Message.Role.ASSISTANT)
        if self._outgoing.regenerate:
            return messages.get(pk=self._outgoing.regenerate).parent_id
        parent = self._outgoing.parent
        if isinstance(parent, Absent):
            return conversation.head_id
        if parent and not messages.filter(pk=parent).exists():
            raise _unknown_parent()
        return parent

    def _said(self, conversation: Conversation, parent_id: uuid.UUID | None) -> list[Message]:
        """Return the messages of what the client says was said before, and of the user's text; not yet written."""
        origin = Message.Origin.CLIENT if self._outgoing.stateless else Message.Origin.SERVER
        said = []
        turns = [*self._outgoing.earlier, Turn("user", self._outgoing.content)]
        for pk, turn in zip(self._said_ids, turns, strict=True):
            message = Message(
                pk=pk,
                conversation=conversation,
                parent_id=parent_id,
                role=turn.role,
                text=turn.text,
                parts=[{"kind": "text", "text": turn.text}] if turn.text else [],
                position=1 + len(turn.text),
                origin=origin,
                end_reason="stop" if turn.role == Message.Role.ASSISTANT else "",
            )
            said.append(message)
            parent_id = message.pk
        return said

    def _write_reply(
        self,
        conversation: Conversation,
        said: list[Message],
        user_message_id: uuid.UUID,
        model: str,
        omitted: int,
        *,
        plan: Any,
    ) -> None:
        """Write what was said and the reply in one statement, and claim the reply."""
        reply = Message(
            pk=self.message_id,
            conversation=conversation,
            parent_id=user_message_id,
            role=Message.Role.ASSISTANT,
            status=endings.STREAMING,
            provider=split_model(model)[0],
            model=model,
            omitted_messages=omitted,
            send_key=self._outgoing.key(self._owner.key),
            body_digest=self._outgoing.digest() if self._outgoing.client_id else "",
        )
        Message.objects.using(self._using).bulk_create([*said, reply])
        texts = [SavedText(conversation.pk, message.pk, message.is_reply, message.text) for message in said]
        texts_saved(texts, self._using)
        slot = self._slot()
        _require_room(self.message_id)
        LiveReply.objects.using(self._using).bulk_create(
            [
                LiveReply(
                    message_id=self.message_id,
                    conversation=conversation,
                    owner_key=self._owner.key,
                    slot=slot,
                    worker=self._worker,
                    expires_at=LiveReply.lease(),
                    reserved=plan,
                )
            ]
        )

    def _slot(self) -> int:
        """Return a free one; the database refuses two of a number, and so holds the cap."""
        mine = LiveReply.objects.using(self._using).filter(owner_key=self._owner.key)
        used = set(mine.values_list("slot", flat=True))
        # As many as may be wanted at once, however high the cap.
        slots = range(min(conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER, 2 * len(used) + 64))
        free = [slot for slot in slots if slot not in used]
        if not free:
            raise APIError(429, "too_many_replies", retry_after=1)
        # Any of them: requests that come at once would all lose the lowest to one another.
        return random.choice(free)  # noqa: S311  (a free slot, not a secret)

    def _count(self) -> int:
        """Return how many messages are written."""
        return 1 if self._outgoing.regenerate else 2 + len(self._outgoing.earlier)

    def _update(self, conversation: Conversation, model: str) -> None:
        changes: dict[str, Any] = {
            "head_id": self.message_id,
            "model": model,
            "last_status": endings.STREAMING,
            "message_count": conversation.message_count + self._count(),
            **columns_on_change(),
        }
        if not conversation.title:
            changes["title"] = title_of(self._outgoing.content)
        Conversation.objects.using(self._using).filter(pk=conversation.pk).update(**changes)

    def _plan(self, system: str, turns: list[Turn], provider: Provider) -> Any:
        """Return what the quota is to reserve for the reply; None without one."""
        quota = get_quota()
        if quota is None:
            return None
        chars = len(system) + sum(len(turn.text) for turn in turns)
        return quota.plan(
            self._request,
            self._owner.key,
            input_tokens=tokens_in(chars),
            output_tokens=provider.max_output_tokens,
        )

    def _reserve(self, plan: Any) -> None:
        """Reserve it, last of all: many share the quota's rows, and a process that is paused with them holds up all."""
        if (quota := get_quota()) is not None:
            quota.reserve(plan, self._using)

    def _order(
        self,
        conversation: Conversation,
        user_message_id: uuid.UUID,
        model: str,
        provider: Provider,
        prompt: Prompt,
    ) -> Order:
        return Order(
            message_id=self.message_id,
            conversation_id=conversation.pk,
            provider=provider,
            prompt=prompt,
            start={
                "message": str(self.message_id),
                "user_message": str(user_message_id),
                "conversation": str(conversation.pk),
                "model": model,
            },
            grace_seconds=self._outgoing.grace_seconds,
        )


def _unknown_parent() -> APIError:
    return APIError(422, "invalid", fields={"parent": "a reply of this conversation was wanted."})


def title_of(text: str) -> str:
    """Return the title of a conversation that begins with this text: 60 characters of it, on one line."""
    title = " ".join(text[: TITLE_CHARS * 2].split())
    return title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1].rstrip()}…"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
