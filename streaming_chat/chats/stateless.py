"""Finds the conversation that a stateless client goes on with. It sends the whole history each time, and no ids.

Each reply to such a client is stored with a digest of everything that came before it: the roles and texts, the system
prompt, and the token or session of the client. If a history has a reply of ours after just that, it is the same
conversation: what follows the reply is new, and a branch if the reply has been answered already. The reply's own text is
compared as well, so that a conversation has no words of ours that a client has made up.

A reply that has called tools of its client is several messages to that client: each ends with calls, whose results come
before the next one. Their texts together are the reply's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from streaming_chat.accounts.owners import Owner
from streaming_chat.conf import conf
from streaming_chat.models import Message
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import APPROVAL, TOOL_CALL, TOOL_RESULT
from streaming_chat.protocol.tool_calls import OK
from streaming_chat.providers.base import Turn
from streaming_chat.providers.tool_turns import has_steps

from .call_answers import output_text
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


class _Shown(NamedTuple):
    """A reply as a client has it. text, calls, results: of all its messages. end: the place of what comes after it."""

    text: str
    calls: list[str]
    results: dict[str, str]
    end: int


def find_called(owner: Owner, send_request: SendRequest, using: str) -> Message | None:
    """Return the reply that has called for the results with which a history ends, with its conversation; None without one.

    It waits for them, or has them already: then the request is repeated.
    """
    turns = [*send_request.earlier, send_request.turn]
    if not (send_request.client and turns[-1].results):
        return None
    result, states = turns[-1].results[0], _states(send_request, turns)
    # One that was stopped says no more, and cannot be asked again: the same results begin another reply.
    has_result = Q(status=endings.COMPLETED, tool_calls__status=OK, tool_calls__output=output_text(result["text"]))
    called = Message.objects.using(using).for_owner(owner.key)
    called = called.filter(
        Q(status__in=endings.LIVE) | has_result & Q(**_recent()),
        history_digest__in=[_digest(states[place - 1]) for place in _starts(turns)],
        tool_calls__call_id=result["id"],
    )
    return called.select_related("conversation").order_by("-id").first()


def _starts(turns: Sequence[Turn]) -> Iterator[int]:
    """Yield where the reply may begin that has called for the last results; it may have called before."""
    place = len(turns) - 1
    while place > 0 and turns[place].results:
        while turns[place].results:
            place -= 1
        if place:
            yield place
        place -= 1


def _find_parent(
    owner: Owner, turns: Sequence[Turn], states: Sequence[bytes], using: str
) -> tuple[Message | None, Sequence[Turn]]:
    """Return the last reply of ours in this history, and the turns after it; None, and all turns, without one."""
    places = [place for place, turn in enumerate(turns) if place and turn.role == Message.Role.ASSISTANT][-_LOOKED_FOR:]
    place_of = {_digest(states[place - 1]): place for place in places}
    shown = {place: _shown_at(turns, place) for place in places}
    texts = {each.text for several in shown.values() for each in several}
    found = _replies(owner, list(place_of), [*texts], using) if places else []
    # The sort is stable.
    for reply in sorted(found, key=lambda reply: -place_of[reply.history_digest]):
        for each in shown[place_of[reply.history_digest]]:
            if _is_same(reply, each, turns[each.end]):
                new = turns[each.end :]
                return (reply, new) if _has_room(reply, new) else (None, turns)
    return None, turns


def _shown_at(turns: Sequence[Turn], place: int) -> list[_Shown]:
    """Return the message at this place as a reply; and it with those after it, if only results are between them."""
    ends = [place + 1]
    for number in range(place + 1, len(turns)):
        if turns[number].role == Message.Role.ASSISTANT and turns[number - 1].results:
            ends.append(number + 1)
        elif not turns[number].results:
            break
    return [_shown(turns[place:end], end) for end in dict.fromkeys((ends[-1], ends[0]))]


def _shown(turns: Sequence[Turn], end: int) -> _Shown:
    said = [turn for turn in turns if not turn.results]
    results = {result["id"]: output_text(result["text"]) for turn in turns for result in turn.results}
    calls = [call["id"] for turn in said for call in turn.calls]
    return _Shown("".join(turn.text for turn in said), calls, results, end)


def _replies(owner: Owner, digests: Sequence[str], texts: Sequence[str], using: str) -> list[Message]:
    """Return the replies with one of these texts after one of these histories, unless their conversation is busy.

    Of several chats with the same words, the one that has not gone on comes first, then the newest.
    """
    replies = Message.objects.using(using).for_owner(owner.key).exclude(status__in=endings.LIVE)
    replies = replies.filter(history_digest__in=digests, text__in=texts, conversation__live=None, **_recent())
    is_answered = Exists(Message.objects.filter(parent=OuterRef("pk")))
    columns = ("conversation", "history_digest", "text", "has_more_than_text", "conversation__message_count")
    return list(replies.select_related("conversation").only(*columns).order_by(is_answered.asc(), "-id")[:_LOOKED_FOR])


def _recent() -> dict[str, Any]:
    return {"created_at__gte": Now() - _LONGEST_PAUSE, "redacted_at": None}


def _is_same(reply: Message, shown: _Shown, following: Turn) -> bool:
    """Return whether a reply is what a client shows. following: what the client has after it."""
    if reply.text != shown.text:
        return False
    parts = reply.parts if reply.has_more_than_text else []
    if not has_steps(parts):
        return [part["id"] for part in parts if part["kind"] == TOOL_CALL] == shown.calls and not shown.results
    # The client knows nothing of the site's own tools. Results that come after their reply's end are not the reply's.
    if following.results or not _calls_of_client(parts).issuperset(shown.calls):
        return False
    results = {part["id"]: part["output"] for part in parts if part["kind"] == TOOL_RESULT}
    return shown.results.items() <= results.items()


def _calls_of_client(parts: Sequence[Mapping[str, Any]]) -> set[str]:
    asked = [call for part in parts if part["kind"] == APPROVAL for call in part["calls"]]
    return {call["id"] for call in asked if call["runs"] == "client"}


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
