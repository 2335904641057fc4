"""Continuing a reply that was cut off: what it begins with, and how a model is asked to go on.

A continuation is a reply of its own, after the same message. It begins with what its owner saw of the reply that it
continues, and reads on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

from streaming_chat.conf import conf
from streaming_chat.db.rows import new_row
from streaming_chat.engine.run import Order
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message, ReplyEvent
from streaming_chat.protocol import events
from streaming_chat.protocol.events import DELTAS, Event
from streaming_chat.providers.base import Turn

# Each continuation stores the text again, so a chain of them may have so many times the longest reply.
_MOST_TIMES_LONGEST = 4
# Code points of the last words that a model is asked to repeat.
_QUOTE_CHARS = 60
# For the model, in English whatever the language of the chat.
_INSTRUCTION = """\
Your last reply was cut off. Continue it from exactly where it stopped, in the same language and format, as if there had \
been no interruption. Begin by repeating its last words exactly as they are here:

{quote}

Go on directly after them. Do not write any comment on this, and do not open a code block again that is still open.\
"""


@dataclass(frozen=True, repr=False)
class Continuation:
    """What a reply takes over from another one. Its repr is the default one: no text in logs and error pages.

    taken_over: text and reasoning, from position 1. turns: what follows the history in the prompt: the text so far and,
    unless the provider continues an assistant's turn, an instruction. quote: the words that the instruction asks for.
    """

    message: Message
    taken_over: tuple[Event, ...]
    turns: tuple[Turn, ...]
    quote: str

    @classmethod
    def of(cls, message: Message, *, is_prefilled: bool) -> Continuation:
        """Return how this reply is continued. is_prefilled: by continuing its turn. Raises APIError: 422."""
        if not message.can_continue:
            raise APIError(422, "invalid", fields={"id": "Must be a reply that was cut off and has text."})
        taken_over = tuple(events.merge(event for event in message.events() if event.kind in DELTAS))
        if events.length(taken_over) >= _MOST_TIMES_LONGEST * conf.STREAMING_CHAT_MAX_REPLY_CHARS:
            raise APIError(422, "invalid", fields={"id": "Must be a shorter reply: this one cannot become any longer."})
        # Anthropic's API rejects white space at the end; protocol/continued_text.py restores it.
        text = events.text_of(taken_over).rstrip()
        if is_prefilled:
            return cls(message, taken_over, (Turn("assistant", text),), "")
        quote = _last_words(text)
        instruction = Turn("user", _INSTRUCTION.format(quote=quote))
        return cls(message, taken_over, (Turn("assistant", text), instruction), quote)

    @property
    def position(self) -> int:
        """Where the new text begins."""
        return 1 + events.length(self.taken_over)

    def order(self, order: Order) -> Order:
        """Return the order of the run that writes it."""
        return order._replace(taken_over=self.taken_over, quote=self.quote)

    def rows(self, reply: Message) -> list[ReplyEvent]:
        """Return the events to insert with the reply: they are saved from its beginning, whatever becomes of its worker."""
        rows, position = [], 1
        for event in self.taken_over:
            columns = {"position": position, "kind": event.kind, "payload": event.payload}
            rows.append(new_row(ReplyEvent, message_id=reply.pk, **columns))
            position += event.size
        return rows


def _last_words(text: str) -> str:
    """Return the end of a text, from the beginning of a word if there is one."""
    if len(text) <= _QUOTE_CHARS:
        return text.lstrip()
    end = text[-_QUOTE_CHARS:]
    _cut_word, _space, words = end.partition(" ")
    return (words or end).lstrip()
