"""The prompt for a provider: the system prompt and the turns of the conversation, as many of the newest as fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from django.http import HttpRequest
from django.utils.module_loading import import_string

from streaming_chat.conf import conf
from streaming_chat.db.rows import with_defaults
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol.events import is_blank, to_parts
from streaming_chat.providers.base import Turn
from streaming_chat.providers.tool_turns import has_steps, turns_of_reply, without_results
from streaming_chat.providers.turns import joined

from .prompt_start import start_of_prompt


def prompt(
    request: HttpRequest,
    conversation: Conversation,
    history: Sequence[Message],
    max_chars: int,
    continuation: Sequence[Turn] = (),
    *,
    keeps_calls: bool = False,
) -> tuple[str, list[Turn], int]:
    """Return the system prompt, the turns, and how many turns were left out.

    history: the end of the branch, oldest first; STREAMING_CHAT_PROMPT may replace it and the system prompt. The turns
    before it are left out as well, and so are its first ones if it is too long (see `prompt_start`).
    max_chars: the most code points of all turns together. Blank texts are not sent: Anthropic's API rejects a conversation
    that contains one. continuation: turns that follow the history, which are never left out. keeps_calls: send a message
    without text if it has tool calls or the result of one.
    """
    max_chars -= sum(turn.chars for turn in continuation)
    history = history[start_of_prompt(history, max_chars) :]
    system = conversation.system_prompt
    messages: Iterable[Message | Turn] = history
    if hook := conf.STREAMING_CHAT_PROMPT:
        seen = [with_defaults(message) if message._state.adding else message for message in history]
        of = with_defaults(conversation) if conversation._state.adding else conversation
        system, messages = import_string(hook)(request, of, seen)
    elif greeting := _greeting(history[0]):
        # Providers require a user's turn first.
        system = f"{system}\n\nYou began this conversation by saying: {greeting}"
    of_messages = [[*_turns_of(message, keeps_calls=keeps_calls)] for message in messages]
    kept, left_out = fit([turn for turns in of_messages for turn in turns], max_chars)
    omitted = history[0].depth + _messages_of(of_messages, left_out)
    return "" if not system or is_blank(system) else system, joined([*kept, *continuation]), omitted


def _turns_of(message: Message | Turn, *, keeps_calls: bool) -> Iterable[Turn]:
    """Return what a message is in a prompt: one turn, several if tools of the site ran in it, and none if it is blank."""
    if isinstance(message, Turn):
        turn = message
    # A site's own object has a role and a text.
    elif not getattr(message, "has_more_than_text", False):
        turn = Turn(message.role, message.text)
    else:
        parts = message.parts if message.cut_position is None else to_parts(message.events())
        if not has_steps(parts):
            turn = Turn(message.role, parts)
        elif keeps_calls:
            return turns_of_reply(parts)
        else:
            turn = Turn(message.role, message.text)
    is_sent = not is_blank(turn.text) or (keeps_calls and (turn.calls or turn.results))
    return [turn] if is_sent else []


def _messages_of(of_messages: Sequence[Sequence[Turn]], turns: int) -> int:
    """Return how many messages the first turns are, which may be several of one message."""
    ends = accumulate(len(turns) for turns in of_messages if turns)
    return sum(end <= turns for end in ends)


def _greeting(first: Message) -> str:
    """Return what the assistant said before the first message of a branch; "" if an earlier one was left out."""
    return "" if first.depth else (first.page_context or {}).get("greeting", "")


def fit(turns: Sequence[Turn], chars: int) -> tuple[list[Turn], int]:
    """Return the newest turns that fit, whole, and how many were left out; the last is never left out."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        chars -= turn.chars
        if chars < 0 and kept:
            break
        kept.append(turn)
    kept.reverse()
    # Providers require a user's turn first, and calls together with their results.
    while len(kept) > 1 and (kept[0].role == Message.Role.ASSISTANT or without_results(kept[0]) is None):
        kept.pop(0)
    if len(kept) < len(turns):
        kept[0] = without_results(kept[0]) or kept[0]
    return kept, len(turns) - len(kept)
