"""Data sets of judged replies, as JSONL in the `messages` format of OpenAI's API, which many programs read.

training: for fine-tuning. What a model should answer: the newest corrected answer, or a reply that reviewers found good.
evaluation: every judged reply as it was written, with its verdicts and corrections.

`messages` follows the rules of OpenAI: a system message comes first, if there is one; then user and assistant alternate,
beginning with the user and ending with the assistant; no content is blank; only assistant messages have a weight, 0 or 1.

Sources: https://developers.openai.com/cookbook/examples/chat_finetuning_data_prep,
https://platform.openai.com/docs/api-reference/fine-tuning/chat-input
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db.models import QuerySet

from streaming_chat.chats.branches import branch
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message, Status, Verdict
from streaming_chat.protocol.events import is_blank
from streaming_chat.protocol.storable_text import storable
from streaming_chat.providers.prompt import Turn
from streaming_chat.providers.turns import joined

from .reviews import newest_correction, read_verdicts
from .rows import Row, conversation_pages, to_json
from .transcripts import ExportChunk

# Of a branch, its newest messages. Prompts are limited likewise.
_MAX_MESSAGES = 500
_MAX_CHARS = 200_000


@dataclass(frozen=True)
class Judged:
    """A reply with what reviewers said of it. prompt: the messages before it, as the format has them."""

    prompt: list[Row] = field(repr=False)
    reply: Message
    verdicts: list[Row] = field(repr=False)

    @property
    def values(self) -> set[str]:
        """The different verdicts."""
        return {verdict["value"] for verdict in self.verdicts if verdict["value"]}

    @property
    def correction(self) -> str:
        """The newest corrected answer; "" for none."""
        corrected = newest_correction(self.verdicts)
        return corrected["correction"] if corrected else ""

    @property
    def answer(self) -> str:
        """What a model should answer; "" if nobody knows."""
        is_good = self.values == {Verdict.Value.GOOD} and self.reply.status == Status.COMPLETED
        return self.correction or (self.reply.text if is_good else "")


Line = Callable[[Judged], Row | None]


def training_line(judged: Judged) -> Row | None:
    """Return an example to learn the last message from; None if it is not known what to learn."""
    if is_blank(judged.answer):
        return None
    prompt = [{**message, **({"weight": 0} if _is_answer(message) else {})} for message in judged.prompt]
    return {"messages": [*prompt, {**_message(Message.Role.ASSISTANT, judged.answer), "weight": 1}]}


def evaluation_line(judged: Judged) -> Row | None:
    """Return a reply with its verdicts; None for one without text. verdict: None if reviewers do not agree."""
    if is_blank(judged.reply.text):
        return None
    return {
        "messages": [*judged.prompt, _message(Message.Role.ASSISTANT, judged.reply.text)],
        "verdict": next(iter(judged.values)) if len(judged.values) == 1 else None,
        "labels": sorted({label for verdict in judged.verdicts for label in verdict["labels"]}),
        "correction": judged.correction or None,
        "verdicts": judged.verdicts,
        "conversation": judged.reply.conversation_id,
        "message": judged.reply.pk,
        "model": judged.reply.model,
    }


DATASETS: dict[str, Line] = {"training": training_line, "evaluation": evaluation_line}


def export_dataset(
    conversations: QuerySet[Conversation], line_of: Line, after: uuid.UUID | None = None
) -> Iterator[ExportChunk]:
    """Yield the lines of the judged replies of conversations, in the order of their ids. Blocking.

    after: as in `transcripts.export`. Each chunk's `messages` are lines.
    """
    for page in conversation_pages(conversations, after):
        count = 0
        for judged in _judged_in(page):
            if (line := line_of(judged)) is not None:
                count += 1
                yield ExportChunk(f"{to_json(line)}\n".encode())
        yield ExportChunk(b"", page[-1]["id"], len(page), count)


def _judged_in(page: list[Row]) -> Iterator[Judged]:
    """Yield the judged replies of a page, a branch at a time. What was redacted is left out, with what came after it."""
    using = live_database()
    verdicts = read_verdicts([row["id"] for row in page], using)
    systems = {row["id"]: row["system_prompt"] for row in page}
    on_messages = {(conversation, pk): found for (conversation, pk), found in verdicts.items() if pk is not None}
    for (conversation, message), found in sorted(on_messages.items()):
        messages = _branch_to(conversation, message, using)
        if not messages or not messages[-1].is_reply or any(each.redacted_at for each in messages):
            continue
        if prompt := _prompt(systems[conversation], messages[:-1]):
            yield Judged(prompt, messages[-1], found)


def _branch_to(conversation: uuid.UUID, message: uuid.UUID, using: str) -> list[Message]:
    row = Conversation(pk=conversation)
    row._state.db = using
    return branch(row, message, most=_MAX_MESSAGES, max_chars=_MAX_CHARS, without=("parts",))


def _prompt(system: str, history: list[Message]) -> list[Row]:
    """Return the messages of a prompt, which end with the user's; none if there is no such message."""
    turns = joined(Turn(message.role, message.text) for message in history if not is_blank(message.text))
    if turns and turns[0].role == Message.Role.ASSISTANT:
        turns.pop(0)
    if not turns or turns[-1].role != Message.Role.USER:
        return []
    first = [] if is_blank(system) else [_message("system", storable(system))]
    return [*first, *(_message(turn.role, turn.text) for turn in turns)]


def _message(role: str, content: str) -> Row:
    return {"role": str(role), "content": content}


def _is_answer(message: Row) -> bool:
    return bool(message["role"] == Message.Role.ASSISTANT)
