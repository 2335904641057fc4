"""Rows to test with, complete and consistent, each with what a test says differently.

`make_reply` makes the user's message, too; `make_live` makes a reply that is still being written.
"""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import transaction
from django.db.models.functions import Now

from streaming_chat.accounts.access_tokens import create_token
from streaming_chat.accounts.owners import user_key
from streaming_chat.conf import conf
from streaming_chat.db.leases import lease_judge
from streaming_chat.engine.completion import Completion, LeaseLost, end_reply
from streaming_chat.models import NOBODY, AccessToken, Conversation, LiveReply, Message, ReplyEvent, ToolCall
from streaming_chat.protocol import events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event

Part = dict[str, Any]


def make_user(name: str = "ana", **fields: Any) -> Any:
    """Return a user called so, the same one each time."""
    user, _made = get_user_model().objects.get_or_create(
        username=name, defaults={"email": f"{name}@example.com", **fields}
    )
    return user


def make_staff(name: str, *permissions: str) -> Any:
    """Return a member of staff with these permissions of the app, by codename."""
    user = make_user(name, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="streaming_chat", codename__in=permissions)
    )
    return user


def make_token(owner: Any = None, **fields: Any) -> str:
    """Return an access token; of ana when no owner is named."""
    return str(create_token(AccessToken(owner=owner or make_user(), **{"name": "Phone", **fields})))


def make_conversation(owner: Any = None, **fields: Any) -> Conversation:
    """Return a conversation; of ana when no owner is named."""
    owner = owner or make_user()
    defaults = {"title": "Rain in Lisbon", "model": "demo:demo"}
    return Conversation.objects.create(owner=owner, owner_key=user_key(owner), **{**defaults, **fields})


def make_message(conversation: Conversation, text: str = "Will it rain?", **fields: Any) -> Message:
    """Return a user's message after the head, or after `parent`; the head moves to it."""
    if "parent" not in fields:
        fields["parent"] = conversation.head
    fields.setdefault("depth", fields["parent"].depth + 1 if fields["parent"] else 0)
    message = Message.objects.create(conversation=conversation, **{"role": Message.Role.USER, "text": text, **fields})
    conversation.head = message
    conversation.last_status = message.status if message.is_reply else conversation.last_status
    conversation.message_count += 1
    conversation.save(update_fields=["head", "last_status", "message_count"])
    return message


def make_reply(conversation: Conversation, text: str = "Yes, **today**.", **fields: Any) -> Message:
    """Return an ended reply after the head, or after `parent`, which is a new user message when there is none.

    parts: everything received; by default the text. The text shown, position and counters follow from it.
    """
    if "parent" not in fields and not _asks(conversation):
        make_message(conversation)
    parts: list[Part] = fields.pop("parts", [{"kind": "text", "text": text}] if text else [])
    received = list(events.from_parts(parts))
    position = 1 + events.length(received)
    cut = fields.get("cut_position")
    defaults = {
        "role": Message.Role.ASSISTANT,
        "text": events.text_of(received if cut is None else events.before(received, cut, 1)),
        "parts": parts,
        "has_more_than_text": events.has_more_than_text(parts),
        "position": position,
        "status": "completed",
        "end_reason": "stop" if fields.get("status", "completed") == "completed" else "",
        "provider": "demo",
        "model": "demo:demo",
        "ended_at": Now(),
    }
    return make_message(conversation, **{**defaults, **fields})


def make_live(conversation: Conversation, *saved: Event, expires: float = 60, **fields: Any) -> LiveReply:
    """Return a live reply of which these events are saved. expires: seconds until its worker is taken for dead."""
    message = make_reply(conversation, "", status="streaming", ended_at=None)
    position = 1
    for event in saved:
        ReplyEvent.objects.create(message=message, position=position, kind=event.kind, payload=event.payload)
        position += event.size
    defaults = {"owner_key": conversation.owner_key, "slot": LiveReply.objects.count(), "worker": "test"}
    return LiveReply.objects.create(
        message=message,
        conversation=conversation,
        expires_at=Now() + timedelta(seconds=expires),
        **{**defaults, **fields},
    )


def make_call(message: Message, name: str = "refund", **fields: Any) -> ToolCall:
    """Return the row of a call of a tool in a reply; by default one that has run. Its events are not made."""
    defaults = {
        "call_id": f"call_{ToolCall.objects.count()}",
        "step": 1,
        "arguments": '{"order": 7}',
        "digest": "d" * 64,
        "status": "ok",
        "started_at": Now(),
        "ended_at": Now(),
        "ms": 120,
        "output": "refunded 7",
    }
    return ToolCall.objects.create(message=message, name=name, **{**defaults, **fields})


def make_waiting(
    conversation: Conversation,
    *calls: str,
    arguments: str = '{"order": 7}',
    runs: str = "server",
    editable: bool = False,
) -> list[ToolCall]:
    """Return the calls of a reply that waits for answers to them. calls: the names of their tools, by default one."""
    names = calls or ("refund",)
    ids = [f"call_{number}" for number in range(len(names))]
    asked = [{"id": call_id, "runs": runs, "editable": editable} for call_id in ids]
    saved = [
        Event(events.STEP, {"number": 1}),
        *(
            Event(events.TOOL_CALL, {"id": call_id, "name": name, "arguments": arguments, "complete": True})
            for call_id, name in zip(ids, names, strict=True)
        ),
        Event(events.APPROVAL, {"calls": asked, "expires": "2026-12-01T00:00:00+00:00"}),
    ]
    live = make_live(conversation, *saved, expires=3600, worker=NOBODY, slot=None)
    Message.objects.filter(pk=live.pk).update(status="waiting")
    Conversation.objects.filter(pk=conversation.pk).update(last_status="waiting")
    waits = {
        "status": "waiting",
        "arguments": arguments,
        "started_at": None,
        "ended_at": None,
        "ms": None,
        "output": "",
    }
    return [make_call(live.message, name, call_id=pk, **waits) for pk, name in zip(ids, names, strict=True)]


def end_live(live: LiveReply, ending: Ending, *received: Event, using: str = "default", **fields: Any) -> bool:
    """Save the ending of a live reply; False if it is not live any more."""
    completion = Completion(live.pk, live.conversation_id, live.worker, ending, received, fields)
    try:
        with transaction.atomic(using=using):
            end_reply(completion, using)
    except LeaseLost:
        return False
    return True


def _asks(conversation: Conversation) -> bool:
    return conversation.head is not None and conversation.head.role == Message.Role.USER


def make_steady() -> None:
    """Let this process have had its database for a lease, so that it may settle the replies of dead workers."""
    lease_judge.database_answered()
    lease_judge._since = lease_judge._last - conf.STREAMING_CHAT_LEASE_SECONDS
