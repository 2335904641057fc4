"""Conversations that look like a site's own, in any number: for measuring, and for trying out the admin.

The same seed gives the same conversations. Words come as often as they do in a language (Zipf's law), so that a search for a
common one and for a rare one cost what they would.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from streaming_chat.accounts.owners import user_key
from streaming_chat.chats.titles import title_of
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, DailyUsage, Feedback, Message, Status

from .seed_reviews import Reviews, reviewers

_AT_ONCE = 1_000
_VOCABULARY = 20_000
_OWNERS = 500
_CONSONANTS, _VOWELS = "bcdfghklmnprstvz", "aeiou"
_WORDS = (
    "the of and to a in is it you that for on with as this be at have from or by one not but what all when we can there "
    "use an your which do how if will up other about out many then them these so some her would make like him into time "
    "order refund invoice delivery password account email error page library book loan card address change cancel please "
    "thank help question answer table code python file function value number date price model reply search"
)
_COMMON = _WORDS.split()
_UNSPACED = ("図書館の開館時間を教えてください。", "我想取消昨天的订单，谢谢。", "ขอเปลี่ยนที่อยู่จัดส่งได้ไหม")
_OTHERS = ("Wie kündige ich mein Konto?", "كيف أغير عنوان التسليم؟", "Où est ma commande ?", "Где мой заказ?")
_MODELS = ("openai:gpt-6-luna", "anthropic:claude-sonnet-5-5", "demo:demo")
# Until a third of the time had passed; then the first of the models took its place.
_RETIRED = "openai:gpt-5-mini"
# Answers in place of another model, in one of so many replies.
_FALLBACK, _ONE_IN = "anthropic:claude-haiku-5", 100
# Some people choose another model in the middle: one in so many conversations.
_SWITCHED_ONE_IN = 50
# Dollars per million tokens of output. That of input costs a fifth of it; the demo's has no price.
_PRICES = {"openai": 10, "anthropic": 15}
# (status, end reason, error code): how many in a hundred.
_ENDINGS = {
    (Status.COMPLETED, "stop", ""): 90,
    (Status.COMPLETED, "length", ""): 2,
    (Status.STOPPED, "user", ""): 3,
    (Status.STOPPED, "disconnect", ""): 1,
    (Status.INTERRUPTED, "provider_truncated", "provider_truncated"): 1,
    (Status.INTERRUPTED, "lease_expired", "lease_expired"): 1,
    (Status.FAILED, "", "provider_rate_limited"): 1,
    (Status.FAILED, "", "provider_unavailable"): 1,
}
# Questions and answers of a conversation: two turns each.
_PAIRS = (1, 1, 2, 2, 2, 3, 4, 5)
# Some people never begin a new one: one in 1,000, of more than a page of its transcript.
_MANY_PAIRS = (60, 250)
SPAN = timedelta(days=280)


class Writer:
    """Makes texts of words as common as in a language."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        made = {*_COMMON}
        words = list(_COMMON)
        while len(words) < _VOCABULARY:
            word = "".join(chance.choice(_CONSONANTS) + chance.choice(_VOWELS) for _ in range(chance.randint(2, 4)))
            if word not in made:
                made.add(word)
                words.append(word)
        self._words = words
        self._weights = list(accumulate(1 / (rank + 2) for rank in range(len(words))))

    def sentence(self) -> str:
        """Return 5 to 18 words."""
        words = self._chance.choices(self._words, cum_weights=self._weights, k=self._chance.randint(5, 18))
        return f"{' '.join(words).capitalize()}."

    def question(self) -> str:
        """Return what a person types; one in thirty in a script without spaces, one in fifteen in another language."""
        draw = self._chance.random()
        if draw < 1 / 30:
            return self._chance.choice(_UNSPACED)
        if draw < 1 / 10:
            return f"{self._chance.choice(_OTHERS)} {self.sentence()}"
        return " ".join(self.sentence() for _ in range(self._chance.randint(1, 3)))

    def answer(self) -> str:
        """Return what a model writes: paragraphs, at times a list or code."""
        pieces = [" ".join(self.sentence() for _ in range(self._chance.randint(2, 5)))]
        if self._chance.random() < 1 / 3:
            pieces.append("\n".join(f"- **{self.sentence()[:-1]}**" for _ in range(self._chance.randint(2, 5))))
        if self._chance.random() < 1 / 10:
            pieces.append(f"```python\n{self._chance.choice(self._words)} = {self._chance.randint(1, 999)}\n```")
        if self._chance.random() < 1 / 2:
            pieces.append(" ".join(self.sentence() for _ in range(self._chance.randint(1, 4))))
        return "\n\n".join(pieces)


def seed(conversations: int, until: datetime, *, number: int = 1) -> Iterator[int]:
    """Save so many conversations, the last one active at `until`; yield how many messages after each transaction.

    number: another one gives other conversations. The days are to be counted anew. Blocking.
    """
    DailyUsage.objects.using(live_database()).filter(day__gte=(until - SPAN).date()).delete()
    chance = random.Random(number)  # noqa: S311  (no secrets: the same again is wanted)
    writer = Writer(chance)
    owners = _owners()
    # Chances of their own: the conversations are the same without reviews.
    review_chance, by = random.Random(number), reviewers()  # noqa: S311  (as above)
    for start in range(0, conversations, _AT_ONCE):
        batch = _Batch(chance, writer, owners, until - SPAN * 2 / 3, Reviews(review_chance, by))
        for index in range(start, min(start + _AT_ONCE, conversations)):
            batch.add(until - SPAN * (1 - (index + 1) / conversations))
        yield batch.save()


def _owners() -> Sequence[Any]:
    """Return the people whose the conversations are, made where they are missing; none of them can sign in."""
    users = get_user_model()._default_manager.using(live_database())
    field = get_user_model().USERNAME_FIELD
    names = [f"seed{number:03}@example.com" for number in range(_OWNERS)]
    found = {getattr(user, field) for user in users.filter(**{f"{field}__in": names})}
    users.bulk_create([users.model(**{field: name, "password": "!"}) for name in names if name not in found])
    return list(users.filter(**{f"{field}__in": names}).order_by("pk"))


class _Batch:
    """Rows of one transaction."""

    def __init__(
        self, chance: random.Random, writer: Writer, owners: Sequence[Any], retired_at: datetime, reviews: Reviews
    ) -> None:
        self._chance = chance
        self._writer = writer
        self._owners = owners
        self._retired_at = retired_at
        self._reviews = reviews
        self._conversations: list[Conversation] = []
        self._messages: list[Message] = []
        self._feedback: list[Feedback] = []

    def add(self, end: datetime) -> None:
        """Make one conversation whose last activity was then."""
        chance = self._chance
        owner = None if chance.random() < 1 / 5 else chance.choice(self._owners)
        key = user_key(owner) if owner else f"v:{chance.randbytes(32).hex()}"
        pairs = chance.randint(*_MANY_PAIRS) if chance.random() < 1 / 1_000 else chance.choice(_PAIRS)
        begun = end - timedelta(minutes=2 * pairs)
        model = chance.choices(_MODELS, (6, 3, 1))[0]
        if model == _MODELS[0] and end < self._retired_at:
            model = _RETIRED
        conversation = Conversation(
            id=_id(begun, chance),
            owner=owner,
            owner_key=key,
            model=model,
            metadata={"page": f"/{chance.choice(_COMMON)}/", "version": chance.choices(("1.4", "1.3"), (99, 1))[0]},
            created_at=begun,
            last_activity=end,
            message_count=2 * pairs,
            deleted_at=end + timedelta(hours=1) if chance.random() < 1 / 50 else None,
        )
        earlier = chance.choice(_MODELS) if pairs > 1 and chance.random() < 1 / _SWITCHED_ONE_IN else model
        parent = None
        for pair in range(pairs):
            parent = self._turn(
                conversation, begun + timedelta(minutes=2 * pair), parent, earlier if 2 * pair < pairs else model
            )
        for depth, message in enumerate(self._messages[-2 * pairs :]):
            message.depth = depth
        # A message of later in the transaction: both databases look at its end.
        conversation.head_id = parent
        self._conversations.append(conversation)
        self._reviews.add(conversation, self._messages[-2 * pairs :])

    def _turn(self, conversation: Conversation, when: datetime, parent: uuid.UUID | None, model: str) -> uuid.UUID:
        asked = self._writer.question()
        conversation.title = conversation.title or title_of(asked)
        question = Message(
            id=_id(when, self._chance),
            conversation=conversation,
            parent_id=parent,
            role=Message.Role.USER,
            text=asked,
            parts=[{"kind": "text", "text": asked}],
            position=1 + len(asked),
            created_at=when,
            ended_at=when,
        )
        reply = self._reply(conversation, question, model)
        conversation.last_status = reply.status
        conversation.needs_attention = (
            conversation.needs_attention or reply.status in conf.STREAMING_CHAT_REVIEW_REASONS
        )
        conversation.input_tokens += reply.input_tokens or 0
        conversation.output_tokens += reply.output_tokens or 0
        if reply.cost is not None:
            conversation.cost = (conversation.cost or 0) + reply.cost
        self._messages += [question, reply]
        if reply.text and self._chance.random() < 1 / 20:
            self._judge(conversation, reply)
        return reply.pk

    def _reply(self, conversation: Conversation, question: Message, model: str) -> Message:
        chance = self._chance
        (status, reason, code), *_ = chance.choices(list(_ENDINGS), list(_ENDINGS.values()))
        text = "" if status == Status.FAILED else self._writer.answer()
        if status in (Status.STOPPED, Status.INTERRUPTED):
            text = text[: len(text) // 2]
        model = _FALLBACK if chance.random() < 1 / _ONE_IN else model
        # The worker that knew the times and the provider's id has died.
        is_recovered = reason == "lease_expired"
        duration = 400 + 12 * len(text) + chance.randint(0, 900)
        return Message(
            id=_id(question.created_at + timedelta(milliseconds=1), chance),
            conversation=conversation,
            parent_id=question.pk,
            role=Message.Role.ASSISTANT,
            text=text,
            parts=[{"kind": "text", "text": text}] * bool(text),
            position=1 + len(text),
            status=status,
            end_reason=reason,
            error_code=code,
            ref=chance.randbytes(4).hex() if code else "",
            provider=model.split(":", maxsplit=1)[0],
            model=model,
            request_id="" if is_recovered else f"req_{chance.randbytes(9).hex()}",
            finish_reason=reason if status == Status.COMPLETED else "",
            first_event_ms=chance.randint(180, 1_500) if text and not is_recovered else None,
            duration_ms=None if is_recovered else duration,
            created_at=question.created_at,
            ended_at=question.created_at + timedelta(milliseconds=duration),
            **({} if is_recovered else _usage(status, model, question.text, text)),
        )

    def _judge(self, conversation: Conversation, reply: Message) -> None:
        value = self._chance.choice((1, 1, -1))
        conversation.needs_attention = conversation.needs_attention or value < 0
        comment = self._writer.sentence() if value < 0 else ""
        feedback = Feedback(message=reply, value=value, comment=comment, by=conversation.owner)
        feedback.owner_key = conversation.owner_key
        feedback.created_at = feedback.updated_at = reply.ended_at
        self._feedback.append(feedback)

    def save(self) -> int:
        """Save all rows in one transaction; return how many messages."""
        using = live_database()
        with transaction.atomic(using=using):
            Conversation.objects.using(using).bulk_create(self._conversations)
            Message.objects.using(using).bulk_create(self._messages, batch_size=500)
            Feedback.objects.using(using).bulk_create(self._feedback)
            self._reviews.save(using)
        return len(self._messages)


def _usage(status: str, model: str, asked: str, answered: str) -> dict[str, Any]:
    """Return the tokens and the cost of a reply: none of a failed one, and an estimate without a cost of a broken one."""
    if status == Status.FAILED:
        return {}
    usage = {"input_tokens": len(asked) // 4 + 200, "output_tokens": len(answered) // 4}
    if status != Status.COMPLETED:
        return {**usage, "tokens_estimated": True}
    price = _PRICES.get(model.split(":", maxsplit=1)[0])
    if price is None:
        return usage
    return {**usage, "cost": price * Decimal(usage["input_tokens"] + 5 * usage["output_tokens"]) / 5_000_000}


def _id(when: datetime, chance: random.Random) -> uuid.UUID:
    """Return an id as `ids.uuid7` would have made it then."""
    milliseconds = int(when.timestamp() * 1000)
    return uuid.UUID(
        int=milliseconds << 80 | 0x7 << 76 | chance.getrandbits(12) << 64 | 0x2 << 62 | chance.getrandbits(62)
    )
