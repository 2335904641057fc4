"""Finds the conversation that a stateless client goes on with. It sends the whole history each time, and no ids.

Each reply to such a client is stored with a digest of everything that came before it: the roles and texts, the system
prompt, and the token or session of the client. If a history has a reply of ours after just that, it is the same
conversation: what follows the reply is new, and a branch if the reply has been answered already. The reply's own text is
compared as well, so that a conversation has no words of ours that a client has made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from streaming_chat.accounts.owners import Owner
from streaming_chat.conf import conf
from streaming_chat.models import Message
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TOOL_CALL
from streaming_chat.providers.base import Turn
from streaming_chat.providers.tool_turns import has_steps

from .history import MAX_MESSAGES
from .send_request import SendRequest

# After that, the same texts are more likely a new conversation, or another program with the same token.
_LONGEST_PAUSE = timedelta(hours=24)
# So many of the newest replies in the history are looked for. Clients that shorten a history change its beginning.
_LOOKED_FOR = 20


def with_conversation(owner: Owner, send_request: SendRequest, using: str) -> SendRequest:
    """Return the request with the conversation and the reply that it goes on from, and only the turns after that."""
    turns = [*send_request.earlier, send_request.turn]
    states = _states(send_request, turns)
    parent, new = _find_parent(owner, turns, states, using) if send_request.client else (None, turns)
    kept = new[-MAX_MESSAGES:]
    place: dict[str, Any] = {"conversation_id": parent.conversation_id, "parent": parent.pk} if parent else {}
    return replace(
        send_request,
        earlier=kept[:-1],
        omitted=len(new) - len(kept),
        history_digest=_digest(states[-1]) if send_request.client else "",
        **place,
    )


def find_waiting(owner: Owner, send_request: SendRequest, using: str) -> Message | None:
    """Return the reply that waits for the results with which a history ends, with its conversation; None without one.

    A request that is repeated finds the reply while it is written.
    """
    turns = [*send_request.earlier, send_request.turn]
    place = len(turns) - 1
    while place and turns[place].results:
        place -= 1
    if not (send_request.client and place and turns[-1].results):
        return None
    called = (
        Message.objects.using(using)
        .for_owner(owner.key)
        .filter(
            history_digest=_digest(_states(send_request, turns[:place])[-1]),
            status__in=endings.LIVE,
            tool_calls__call_id=turns[-1].results[0]["id"],
        )
    )
    return called.select_related("conversation").order_by("-id").first()


def _find_parent(
    owner: Owner, turns: Sequence[Turn], states: Sequence[bytes], using: str
) -> tuple[Message | None, Sequence[Turn]]:
    """Return the last reply of ours in this history, and the turns after it; None, and all turns, without one."""
    places = [place for place, turn in enumerate(turns) if place and turn.role == Message.Role.ASSISTANT][-_LOOKED_FOR:]
    place_of = {_digest(states[place - 1]): place for place in places}
    found = _replies(owner, list(place_of), [turns[place].text for place in places], using) if places else []
    # The sort is stable.
    for reply in sorted(found, key=lambda reply: -place_of[reply.history_digest]):
        place = place_of[reply.history_digest]
        if _is_same(reply, turns[place]):
            new = turns[place + 1 :]
            return (reply, new) if _has_room(reply, new) else (None, turns)
    return None, turns


def _replies(owner: Owner, digests: Sequence[str], texts: Sequence[str], using: str) -> list[Message]:
    """Return the replies with one of these texts after one of these histories, unless their conversation is busy.

    Of several chats with the same words, the one that has not gone on comes first, then the newest.
    """
    replies = Message.objects.using(using).for_owner(owner.key).exclude(status__in=endings.LIVE)
    replies = replies.filter(
        history_digest__in=digests,
        text__in=texts,
        created_at__gte=Now() - _LONGEST_PAUSE,
        redacted_at=None,
        conversation__live=None,
    )
    is_answered = Exists(Message.objects.filter(parent=OuterRef("pk")))
    columns = ("conversation", "history_digest", "text", "has_more_than_text", "conversation__message_count")
    return list(replies.select_related("conversation").only(*columns).order_by(is_answered.asc(), "-id")[:_LOOKED_FOR])


def _is_same(reply: Message, turn: Turn) -> bool:
    if reply.text != turn.text:
        return False
    # The client knows nothing of the site's own tools.
    calls = reply.parts if reply.has_more_than_text and not has_steps(reply.parts) else []
    return _call_ids(calls) == _call_ids(turn.parts)


def _call_ids(parts: Sequence[object]) -> list[str]:
    return [part["id"] for part in parts if isinstance(part, dict) and part["kind"] == TOOL_CALL]


def _has_room(reply: Message, new: Sequence[Turn]) -> bool:
    count = reply.conversation.message_count + min(len(new), MAX_MESSAGES) + 1
    return count <= conf.STREAMING_CHAT_MAX_CONVERSATION_MESSAGES


def _states(send_request: SendRequest, turns: Sequence[Turn]) -> list[bytes]:
    """Return a hash for each turn, of everything up to it."""
    state = _hash(b"", send_request.client, send_request.system)
    return [state := _hash(state, turn.role, turn.text) for turn in turns]


def _digest(state: bytes) -> str:
    # With the site's key, since texts can be guessed.
    return salted_hmac("streaming_chat.history", state.hex(), algorithm="sha256").hexdigest()


def _hash(state: bytes, *texts: str) -> bytes:
    digest = hashlib.sha256(state)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        # With the length, so that no text can end where another begins.
        digest.update(len(data).to_bytes(8))
        digest.update(data)
    return digest.digest()
