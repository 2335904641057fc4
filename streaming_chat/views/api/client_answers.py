"""Answers to tool calls in the requests of the AI SDK, AG-UI and OpenAI's API, whose clients go on with the same reply.

A client sends everything that it shows, so only what answers an approval of the reply is taken: the results of other tools
are ours. A repeated request answers an earlier approval, and gets what follows that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.protocol.events import APPROVAL, Event

from .call_answers import answers, take_answers
from .reply_answers import ReplyAnswer, answer_with_reply, owner_access
from .serializers import received_events

# A call as an approval has it -> the client's answer as api/messages/<id>/answers takes it, None for none.
AnswerTo = Callable[[Mapping[str, Any]], dict[str, Any] | None]


class Given(NamedTuple):
    """position: after the approval. asked: its calls. answers: to some of them, as the native API takes them."""

    position: int
    asked: list[Mapping[str, Any]]
    answers: list[dict[str, Any]]


def find_answers(reply: Message, answer_to: AnswerTo) -> Given | None:
    """Return what a client answers to the last approval for which it has an answer. Blocking."""
    for position, asked in reversed([*_approvals(received_events(reply))]):
        if given := [answer for call in asked if (answer := answer_to(call)) is not None]:
            return Given(position, asked, given)
    return None


def go_on(
    request: HttpRequest, owner: Owner, reply: Message, given: Given, *, field: str, **options: Any
) -> ReplyAnswer:
    """Take the answers, and return the answer with what follows. field: of the request, where they are.

    options: of the ReplyAnswer. Raises APIError.
    """
    try:
        checked = answers(given.answers)
    except ValueError as error:
        raise APIError(422, "invalid", fields={field: str(error)}) from None
    run = take_answers(request, owner, reply, checked, is_read=True)
    return answer_with_reply(reply.pk, run, owner_access(request, owner), position=given.position, **options)


def _approvals(events: list[Event]) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """Yield the position after each approval, and its calls."""
    position = 1
    for event in events:
        position += event.size
        if event.kind == APPROVAL:
            yield position, event.payload["calls"]
